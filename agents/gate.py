"""The gate before deployment: is the new policy no worse, says an estimate it was not made from?

The estimate is the first-order term of the performance difference (Kakade & Langford 2002; Schulman
et al. 2015, arXiv 1502.05477, eq. 3), on conversations that the improvement step never saw::

    gain = mean over conversations of  sum_t (rho_t - 1) (G_t - V(s_t))

where rho_t is the probability ratio of the new policy to the old for the t-th response, capped, and
G_t the lambda-return. It is doubly robust: right in expectation if either V or the returns are.
States are those that the old policy meets, so the estimate is good for small steps only.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from convgym.agents.batch import TokenisedEpisode, collate
from convgym.agents.improvement import Speech
from convgym.agents.q_fitting import Judged
from convgym.agents.scoring import response_logprobs
from convgym.errors import ConvgymError


@dataclass(frozen=True, slots=True)
class GateConfig:
    """When a new policy is deployed."""

    held_out: float = 0.1
    """Share of every round's conversations that is kept from the improvement step; 0: no gate."""
    standard_errors: float = 1.0
    """A policy is turned down if its gain is negative by more than this many standard errors."""
    max_ratio: float = 5.0
    """Cap of the probability ratio of a response."""

    def __post_init__(self) -> None:
        if not 0 <= self.held_out < 1:
            raise ConvgymError(f"the gate's held_out must be in [0, 1), got {self.held_out}")


@dataclass(frozen=True, slots=True)
class Gain:
    """Expected gain in conversion, as a probability, and its standard error."""

    mean: float
    standard_error: float

    def metrics(self) -> dict[str, float]:
        """Return the estimate for a log; nothing where too little was held out to know it."""
        if math.isinf(self.standard_error):
            return {}
        return {"predicted_gain": self.mean, "predicted_gain_error": self.standard_error}

    def passes(self, config: GateConfig) -> bool:
        """Tell whether the new policy may be deployed."""
        # 0 times infinity is no number: nothing was held out, or a single conversation.
        bound = config.standard_errors * self.standard_error if config.standard_errors else 0.0
        return self.mean >= -bound


@torch.inference_mode()
def predicted_gain(
    model: Any,
    episodes: Sequence[TokenisedEpisode],
    judged: Sequence[Judged],
    speech: Speech,
    max_ratio: float,
) -> Gain:
    """Estimate what ``model`` gains over the policy that held ``episodes``.

    ``judged`` must come from value functions that have not seen the episodes.
    """
    gains: list[float] = []
    for start in range(0, len(episodes), 64):
        part = episodes[start : start + 64]
        batch = collate(part, speech.format.pad_id)
        ratios = (
            response_logprobs(model, speech.format, batch, speech.temperature)
            - batch.logprobs[batch.response]
        )
        rows = ratios.split(batch.response.sum(dim=1).tolist())
        for episode, row, opinion in zip(part, rows, judged[start : start + 64], strict=True):
            turns = torch.tensor([turn for turn in episode.turns if turn >= 0])
            response = torch.zeros(episode.n_turns).index_add(0, turns, row)
            advantages = torch.tensor(opinion.returns) - torch.tensor(opinion.values)
            gains.append(float(((response.exp().clamp(max=max_ratio) - 1) * advantages).sum()))
    if not gains:
        return Gain(0.0, math.inf)
    found = torch.tensor(gains)
    error = float(found.std()) / len(gains) ** 0.5 if len(gains) > 1 else math.inf
    return Gain(float(found.mean()), error)
