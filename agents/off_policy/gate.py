"""The gate before deployment: is the new policy no worse, says an estimate it was not made from?

The estimate is the first-order term of the performance difference (Kakade & Langford 2002; Schulman
et al. 2015, arXiv 1502.05477, eq. 3), on conversations that the improvement step never saw::

    gain = mean over conversations of  sum_t (rho'_t - rho_t) (G_t - V(s_t) - c)

where rho'_t and rho_t are the probability ratios of the new and the old policy, for the t-th
response, to what it was sampled from (the old policy, but for exploration), capped, and G_t is the
lambda-return. It is doubly robust: right in expectation if either V or the returns are. The
constant c is the mean of G - V on these conversations. In expectation it changes nothing, as ratios
have mean 1; but where few conversations were held out and none sold, a V that hoped for more would
make every policy look good that says anything else.

States are those that the old policy meets, so the estimate is good for small steps only. After a
large one, hardly anything in the log is what the new policy would say: the mean of rho', which is 1
but for the cap, falls towards 0, and the estimate with it, whatever the policy is worth. Such a
policy is turned down for that alone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from convgym.agents.model.batch import Batch, TokenisedEpisode, first_tokens
from convgym.agents.model.language_model import LanguageModel
from convgym.agents.values.fitting import ValueEstimates
from convgym.checks import check_number
from convgym.errors import ConvgymError


@dataclass(frozen=True, slots=True)
class GateConfig:
    """When a new policy is deployed: the gate of Iterative PPO, after its improvement step.

    On the ``held_out`` share of a round's conversations the gain of the new policy is estimated
    (``predicted_gain``, doubly robust; Schulman et al. 2015, arXiv 1502.05477, eq. 3), and it
    passes if::

        gain >= - standard_errors * (standard error of gain)   and   coverage >= min_coverage

    where coverage is the mean capped ratio of its probabilities to those of what was sampled. A
    policy that is turned down leaves the old one in place for the next round. ``held_out`` and
    ``standard_errors`` matter most; ``held_out=0`` deploys everything.

    Raises:
        ConvgymError: for a share or a coverage that is none, or a cap that is not positive.
    """

    held_out: float = 0.1
    """Share of every round's conversations that is kept from the improvement step; 0: no gate."""
    standard_errors: float = 1.0
    """A policy is turned down if its gain is negative by more than this many standard errors."""
    max_ratio: float = 5.0
    """Cap of the probability ratio of a response."""
    min_coverage: float = 0.5
    """A policy is turned down if its ratios have a smaller mean than this."""

    def __post_init__(self) -> None:
        check_number("held_out", self.held_out)
        check_number("min_coverage", self.min_coverage)
        if math.isnan(self.standard_errors) or self.standard_errors == -math.inf:
            raise ConvgymError(
                f"the gate's standard_errors must be a number, got {self.standard_errors}"
            )
        if not 0 <= self.held_out < 1:
            raise ConvgymError(f"the gate's held_out must be in [0, 1), got {self.held_out}")
        if not self.max_ratio > 0:
            raise ConvgymError(f"the gate's max_ratio must be positive, got {self.max_ratio}")
        if not 0 <= self.min_coverage <= 1:
            raise ConvgymError(
                f"the gate's min_coverage must be in [0, 1], got {self.min_coverage}"
            )


@dataclass(frozen=True, slots=True)
class Gain:
    """Expected gain in conversion, as a probability, and its standard error."""

    mean: float
    standard_error: float
    coverage: float = 1.0
    """Mean capped probability ratio of the new policy to what the log was sampled from."""

    def metrics(self) -> dict[str, float]:
        """Return the estimate for a log; nothing where too little was held out to know it."""
        if math.isinf(self.standard_error):
            return {}
        return {
            "predicted_gain": self.mean,
            "predicted_gain_error": self.standard_error,
            "gate_coverage": self.coverage,
        }

    def passes(self, config: GateConfig) -> bool:
        """Tell whether the new policy may be deployed."""
        # 0 times infinity is no number: nothing was held out, or a single conversation.
        bound = config.standard_errors * self.standard_error if config.standard_errors else 0.0
        return self.mean >= -bound and self.coverage >= config.min_coverage


@torch.inference_mode()
def predicted_gain(
    model: LanguageModel,
    reference: LanguageModel,
    episodes: Sequence[TokenisedEpisode],
    judged: Sequence[ValueEstimates],
    max_ratio: float,
) -> Gain:
    """Estimate what ``model`` gains over ``reference``, from conversations that the latter held.

    ``judged`` must come from value functions that have not seen the episodes.
    """
    ratios: list[Tensor] = []
    coverage = 0.0
    size, cpu = model.batch_sizes.reading, torch.device("cpu")
    for start in range(0, len(episodes), size):
        part = episodes[start : start + size]
        batch = model.collate(part)
        new, old = (_response_ratios(policy, batch, max_ratio) for policy in (model, reference))
        coverage += float(new.sum())
        ratios += (new - old).to(cpu).split(first_tokens(batch).sum(dim=1).tolist())
    if not ratios:
        return Gain(0.0, math.inf)
    advantages = [
        torch.tensor(estimates.returns, device=cpu) - torch.tensor(estimates.values, device=cpu)
        for estimates in judged
    ]
    mean = torch.cat(advantages).mean()
    gains = torch.stack(
        [
            (ratio * (advantage - mean)).sum()
            for ratio, advantage in zip(ratios, advantages, strict=True)
        ]
    )
    if len(gains) == 1:
        return Gain(float(gains), math.inf)
    error = float(gains.std()) / len(gains) ** 0.5
    return Gain(float(gains.mean()), error, coverage / sum(map(len, ratios)))


def _response_ratios(policy: LanguageModel, batch: Batch, max_ratio: float) -> Tensor:
    """Return the capped probability ratio (R,) of every response to what it was sampled from."""
    ratios = policy.logprobs(batch) - batch.logprobs[batch.response]
    number = first_tokens(batch)[batch.response].cumsum(0) - 1
    sums = ratios.new_zeros(int(number[-1]) + 1).index_add(0, number, ratios)
    return sums.exp().clamp(max=max_ratio)
