"""The improvement step of Iterative PPO as one interface, whoever solves it.

The single-turn RLHF problem (arXiv 2511.21638, Observation 1): the prompts are the states of a log,
the reward of a response is a score such as the fitted Q(s, a), and the reference is the policy that
wrote the log. Solvers: token-level PPO (``token_ppo``), best-of-n with distillation
(``best_of_n``), and TRL's GRPO and RLOO (``trl``).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from convgym.agents.model.batch import TokenisedEpisode
from convgym.agents.model.format import Tokens
from convgym.agents.model.language_model import LanguageModel
from convgym.progress import ProgressCallback

Score = Callable[[Sequence[Tokens], Sequence[Tokens]], Tensor]
"""From N prompts and N responses, as token ids, to their scores (N,)."""

PolicyWatch = Callable[[LanguageModel], None]
"""Shown the policy as it is after every pass or batch; to be read or copied only."""


def watch_nothing(model: LanguageModel) -> None:
    """Look away."""


@dataclass(frozen=True, slots=True)
class SingleTurnProblem:
    """A single-turn problem, made from a log."""

    log: Sequence[TokenisedEpisode]
    """Conversations that the reference policy held. Their states are the prompts."""
    score: Score
    """Judges any response to any prompt. Only differences within a prompt are to be used."""
    advantages: Sequence[tuple[float, ...]]
    """What the log itself says of its responses: for every conversation, the advantage of each
    response token. Free of charge for solvers that can learn from responses of the reference."""

    def prompts(self) -> list[Tokens]:
        """Return every state of the log as token ids, conversation by conversation."""
        return [episode.ids[:start] for episode in self.log for start in episode.response_starts()]


class Improvement(Protocol):
    """A solver of single-turn problems: the frozen dataclass of its hyperparameters."""

    def improve(
        self,
        reference: LanguageModel,
        problem: SingleTurnProblem,
        *,
        generator: torch.Generator,
        progress: ProgressCallback,
        watch: PolicyWatch,
    ) -> tuple[LanguageModel, dict[str, float]]:
        """Return a better model than ``reference``, which stays as it is, and metrics.

        Args:
            reference: the policy that wrote the problem's log.
            problem: the prompts and what scores responses to them.
            generator: all randomness, on the CPU.
            progress: told of steps done, with the present metrics.
            watch: shown the model after every pass or batch of a solver that has several.
        """
