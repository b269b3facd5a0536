"""What a fitted Q thinks of words that somebody is about to say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import torch

from convgym.agents.model.policy import LanguageModelPolicy
from convgym.agents.pipeline.inputs import open_ensemble
from convgym.agents.values.q_function import QEnsemble
from convgym.policy import Conversation


@dataclass(frozen=True)
class Opinion:
    """A Q, and the policy that it is of: anybody's words can be put to it."""

    policy: LanguageModelPolicy
    ensemble: QEnsemble

    @classmethod
    def of_folder(cls, folder: Path, policy: str | Path | None = None) -> Self:
        """Return the opinion of a Q folder (``pipeline.inputs.open_ensemble``; raises as that)."""
        return cls(*open_ensemble(folder, policy))

    def values(self, conversation: Conversation, utterances: Sequence[str]) -> list[float]:
        """Return Q(s, a) of each utterance (N,), the chance of a purchase in the end if it is said.

        Equal conversations give equal values; nothing is drawn from the conversation's stream.
        """
        model = self.policy.model
        prompt = model.prompt(conversation.messages)
        said = [model.format.response(utterance) for utterance in utterances]
        generator = torch.Generator().manual_seed(conversation.seed)
        return self.ensemble.score([prompt] * len(said), said, generator=generator).tolist()
