"""The gate before deployment: is the new policy better, says an estimate it was not made from?

The estimate is the first-order term of the performance difference (Kakade & Langford 2002; Schulman
et al. 2015, arXiv 1502.05477, eq. 3), on conversations that the improvement step never saw::

    gain = mean over conversations of  sum_t (rho'_t - rho_t) (G_t - V(s_t) - c)

where rho'_t and rho_t are the probability ratios of the new and the old policy, for the t-th
response, to what it was sampled from (the old policy, but for exploration), capped, and G_t is the
lambda-return (``estimators.first_order``). It is doubly robust: right in expectation if either V or
the returns are. ``convgym study gate`` compares it with other estimates by steps of known worth.

States are those that the old policy meets, and words those that it said, so the estimate is good
for small steps only. After a large one, hardly anything in the log is what the new policy would
say: it stands on few responses of large weight, and then on none. The gate therefore knows what it
cannot judge, and does not let it pass: a policy that diverges too far, or whose ratios have too
small a mean, which is 1 but for the cap; too few conversations; and a log in which nothing was
sold, which holds no news of what sells. The divergence is exact, where the effective sample size
of a few hundred responses is not: a policy that had moved 3 nats and sold next to nothing still
weighed a quarter of them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from convgym.agents.model.batch import TokenisedEpisode
from convgym.agents.model.language_model import LanguageModel
from convgym.agents.off_policy.estimators import (
    capped_ratios,
    effective_sample_size,
    first_order_terms,
)
from convgym.agents.off_policy.evidence import log_ratios, padded
from convgym.agents.values.estimates import ValueEstimates
from convgym.checks import check_fields, check_number
from convgym.errors import ConvgymError

Verdict = Literal["passed", "turned down", "cannot judge"]


@dataclass(frozen=True, slots=True)
class GateConfig:
    """When a new policy is deployed: the gate of Iterative PPO, after its improvement step.

    On the ``held_out`` share of a round's conversations the gain of the new policy is estimated
    (``predicted_gain``, doubly robust; Schulman et al. 2015, arXiv 1502.05477, eq. 3), and it
    passes if::

        gain >= - standard_errors * (standard error of gain)

    unless the gate cannot judge: beyond ``max_kl``, or where less than ``min_coverage``,
    ``min_conversations`` or ``min_sales`` is at hand. A policy that does not pass leaves the old
    one in place for the next round. ``held_out`` and ``standard_errors`` matter most;
    ``held_out=0`` deploys everything. What the defaults are worth is measured: docs/agents.md.

    Raises:
        ConvgymError: for a share or a coverage that is none, or a cap that is not positive.
    """

    held_out: float = 0.1
    """Share of every round's conversations that is kept from the improvement step; 0: no gate."""
    standard_errors: float = -0.5
    """A policy is turned down if its gain is negative by more than this many standard errors.
    Where this is negative, as by default, the gain must be positive by as many."""
    max_ratio: float = 5.0
    """Cap of the probability ratio of a response."""
    min_coverage: float = 0.5
    """A policy cannot be judged if its ratios have a smaller mean than this."""
    max_kl: float = 1.5
    """Nor if it diverges further than this from the deployed one, in nats per response."""
    min_conversations: int = 20
    """Nor by fewer conversations than this."""
    min_sales: int = 1
    """Nor by fewer that sold."""

    def __post_init__(self) -> None:
        check_number("held_out", self.held_out)
        check_number("min_coverage", self.min_coverage)
        check_fields(
            self,
            counts_from_zero=("min_conversations", "min_sales"),
            bounds=("max_kl",),
        )
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
    """Expected gain in conversion, as a probability, and what is known of its error."""

    mean: float
    standard_error: float
    coverage: float = 1.0
    """Mean capped probability ratio of the new policy to what the log was sampled from."""
    effective_share: float = 1.0
    """Effective sample size of these ratios, without the cap, as a share of the responses."""
    kl: float = 0.0
    """Divergence from the deployed policy, nats per response."""
    conversations: int = 0
    sales: int = 0

    def metrics(self) -> dict[str, float]:
        """Return the estimate for a log; nothing where too little was held out to know it."""
        if math.isinf(self.standard_error):
            return {}
        return {
            "predicted_gain": self.mean,
            "predicted_gain_error": self.standard_error,
            "gate_coverage": self.coverage,
            "gate_effective_share": self.effective_share,
        }

    def verdict(self, config: GateConfig) -> Verdict:
        """Return what the gate says of the new policy."""
        if not config.held_out:
            return "passed"
        if self.doubts(config):
            return "cannot judge"
        # 0 times infinity is no number: nothing was held out, or a single conversation.
        bound = config.standard_errors * self.standard_error if config.standard_errors else 0.0
        return "passed" if self.mean >= -bound else "turned down"

    def doubts(self, config: GateConfig) -> list[str]:
        """Return why the gate cannot judge; empty if it can."""
        doubts = {
            f"the new policy diverges by {self.kl:.2f} nats a response, more than"
            f" {config.max_kl}": self.kl > config.max_kl,
            f"its ratios have a mean of {self.coverage:.2f}, less than {config.min_coverage}": (
                self.coverage < config.min_coverage
            ),
            f"{self.conversations} conversations were held out, fewer than"
            f" {config.min_conversations}": self.conversations < config.min_conversations,
            f"{self.sales} of them sold, fewer than {config.min_sales}": (
                self.sales < config.min_sales
            ),
        }
        return [doubt for doubt, holds in doubts.items() if holds]

    def strays(self, config: GateConfig) -> bool:
        """Tell whether the new policy is so far from the old one that no log tells of it."""
        return self.kl > config.max_kl or self.coverage < config.min_coverage

    def passes(self, config: GateConfig) -> bool:
        """Tell whether the new policy may be deployed."""
        return self.verdict(config) == "passed"


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
    if not episodes:
        return Gain(0.0, math.inf)
    present = padded([[1.0] * episode.n_turns for episode in episodes])
    logs, deployed = (padded(log_ratios(policy, episodes)) for policy in (model, reference))
    ratios = capped_ratios(logs, max_ratio)
    advantages = padded([each.returns for each in judged]) - padded([e.values for e in judged])
    terms = first_order_terms(ratios - capped_ratios(deployed, max_ratio), advantages, present)
    n, responses = len(terms), float(present.sum())
    return Gain(
        mean=float(terms.mean()),
        standard_error=float(terms.std(ddof=1)) / n**0.5 if n > 1 else math.inf,
        coverage=float((ratios * present).sum()) / responses,
        effective_share=effective_sample_size(logs[present > 0]) / responses,
        kl=model.divergence(reference, episodes),
        conversations=n,
        sales=sum(episode.outcome > 0 for episode in episodes),
    )
