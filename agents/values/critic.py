"""A critic: a language model's body with one number per token in place of words."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from convgym.agents.model.forward import read
from convgym.agents.model.language_model import LanguageModel
from convgym.agents.model.weights import copied


class Critic(nn.Module):
    """Outcome logits for every prefix of a conversation.

    The output at token t is the log-odds of a purchase after tokens 0 .. t: the state's value
    where the next token opens or continues a response, the response's Q where t is its end.

    Args:
        body: a ``transformers`` model without head; trained in place.
    """

    def __init__(self, body: PreTrainedModel) -> None:
        super().__init__()
        self.body = body
        self.head = nn.Linear(body.config.get_text_config().hidden_size, 1, device=body.device)
        # Starts at even odds everywhere, whatever the body says.
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    @classmethod
    def from_language_model(cls, model: LanguageModel) -> Critic:
        """Return a critic whose body is a copy of the model's."""
        return cls(copied(model.body))

    def forward(self, ids: Tensor) -> Tensor:
        """Return logits (B, T) for token ids (B, T) padded at the right."""
        # The head is float32, whatever the body is.
        logits: Tensor = self.head(read(self.body, ids).to(self.head.weight.dtype))[..., 0]
        return logits

    @torch.no_grad()
    def values(self, ids: Tensor) -> Tensor:
        """Return the probability (B, T) of a purchase as seen before each token.

        Column t holds the output at t - 1; before the first token nothing is known: column 0 is 0.
        """
        return nn.functional.pad(self(ids)[:, :-1].sigmoid(), (1, 0))
