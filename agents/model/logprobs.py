"""Log-probabilities of logged responses under a language model, for training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from convgym.agents.model.batch import Batch, TokenisedEpisode, collate
from convgym.agents.model.format import ConversationFormat
from convgym.agents.model.forward import read
from convgym.agents.model.sampling import token_logprobs


def response_distributions(
    model: Any, format: ConversationFormat, batch: Batch, temperature: float = 1.0
) -> Tensor:
    """Return the log-probabilities (N, V) from which the N response tokens were chosen.

    One forward pass over whole conversations; the N tokens stand in the order of
    ``batch.ids[batch.response]``. The distribution is the one that generation samples.
    """
    hidden = read(model.base_model, batch.ids)
    # The first token of a conversation is the customer's.
    chosen = hidden[:, :-1][batch.response[:, 1:]]
    forbidden = torch.tensor(format.forbidden_ids, dtype=torch.long)
    return token_logprobs(model.get_output_embeddings()(chosen), forbidden, temperature)


def response_logprobs(
    model: Any, format: ConversationFormat, batch: Batch, temperature: float = 1.0
) -> Tensor:
    """Return the log-probability (N,) of each response token; order as above."""
    distributions = response_distributions(model, format, batch, temperature)
    return distributions.gather(-1, batch.ids[batch.response][:, None])[:, 0]


@torch.inference_mode()
def divergence(
    model: Any,
    reference: Any,
    format: ConversationFormat,
    episodes: Sequence[TokenisedEpisode],
    temperature: float = 1.0,
) -> float:
    """Return KL(model, reference) in nats per response, over what the reference said.

    The divergence of every token's whole distribution ("exact"), not of the sampled token alone;
    the tokens before it are those of the log, which the reference wrote.
    """
    total, responses = 0.0, 0
    for start in range(0, len(episodes), 32):
        batch = collate(episodes[start : start + 32], format.pad_id)
        new = response_distributions(model, format, batch, temperature)
        old = response_distributions(reference, format, batch, temperature)
        # Forbidden tokens are -inf - -inf.
        total += float((new.exp() * (new - old).nan_to_num(0.0)).sum())
        responses += sum(one.n_turns for one in episodes[start : start + 32])
    return total / responses
