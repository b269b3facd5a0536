"""Off-policy evaluation: what a new policy would earn, by conversations that another one held.

Arrays are (N, H): N conversations of at most H turns, zeros after a conversation's end. With rho_t
the probability ratio of the t-th response, new policy to what the log was sampled from, and r_t its
reward. Returns are not discounted. With a reward at the end alone, as of a sale, per-decision
importance sampling is importance sampling; weighted, they differ.

What is estimated is a mean over conversations; ``bootstrap`` gives its interval.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from convgym.agents.off_policy.evidence import Evidence
from convgym.statistics import Estimate

Array = NDArray[np.float64]


def importance_sampling(log_ratios: Array, rewards: Array) -> float:
    """Return the mean of ``rho_1 .. rho_H`` times the conversation's return (Precup et al. 2000).

    Unbiased where the log was sampled from all that the new policy may say.
    """
    return float((np.exp(log_ratios.sum(1)) * rewards.sum(1)).mean())


def weighted_importance_sampling(log_ratios: Array, rewards: Array) -> float:
    """Return the same, divided by the mean of the weights: a little biased, in [min, max]."""
    return float((_shares(log_ratios.sum(1, keepdims=True))[:, 0] * rewards.sum(1)).sum())


def per_decision(log_ratios: Array, rewards: Array) -> float:
    """Return the mean of ``sum_t rho_1 .. rho_t r_t`` (Precup et al. 2000)."""
    return float((np.exp(log_ratios.cumsum(1)) * rewards).sum(1).mean())


def weighted_per_decision(log_ratios: Array, rewards: Array) -> float:
    """Return the same with the weights of every turn divided by their mean over conversations."""
    return float((_shares(log_ratios.cumsum(1)) * rewards).sum())


def doubly_robust(log_ratios: Array, rewards: Array, q: Array, values: Array) -> float:
    """Return the doubly robust estimate (Jiang & Li 2016, arXiv 1511.03722, section 4).

    The mean over conversations of V_DR at their first turn, with::

        V_DR(t) = V(s_t) + rho_t (r_t + V_DR(t + 1) - Q(s_t, a_t))

    Right in expectation if the ratios are, whatever Q and V; or if Q and V are the new policy's.

    Args:
        log_ratios: (N, H) logarithm of rho.
        rewards: (N, H).
        q: (N, H) Q(s_t, a_t) of what was said.
        values: (N, H) V(s_t), the mean of Q over what the new policy would say.
    """
    after = np.zeros(len(values))
    for turn in reversed(range(values.shape[1])):
        error = rewards[:, turn] + after - q[:, turn]
        after = values[:, turn] + np.exp(log_ratios[:, turn]) * error
    return float(after.mean())


def weighted_doubly_robust(log_ratios: Array, rewards: Array, q: Array, values: Array) -> float:
    """Return the weighted doubly robust estimate (Thomas & Brunskill 2016, arXiv 1604.00923).

    It is ``doubly_robust`` with the product of ratios up to a turn divided by its mean
    over conversations; those that have ended keep their last product.
    """
    following = np.concatenate([values[:, 1:], np.zeros((len(values), 1))], 1)
    corrections = _shares(log_ratios.cumsum(1)) * (rewards + following - q)
    return float(values[:, 0].mean() + corrections.sum())


def first_order_terms(ratio_changes: Array, advantages: Array, present: Array) -> Array:
    """Return what every conversation (N,) adds to ``first_order``, N times over."""
    constant = float((present * advantages).sum() / max(present.sum(), 1.0))
    terms: Array = (ratio_changes * (advantages - constant) * present).sum(1)
    return terms


def first_order(ratio_changes: Array, advantages: Array, present: Array) -> float:
    """Return the first-order gain by the log's own returns (arXiv 1502.05477, equation 3).

    That is, in the place of the advantage what followed::

        mean over conversations of  sum_t (rho'_t - rho_t) (A_t - c)

    The constant c is the mean of A_t: ratios have mean 1, so that in expectation it
    changes nothing. But where few conversations were held out and none sold, values that hoped for
    more would else make every policy look good that says anything new.

    Args:
        ratio_changes: (N, H) of the new and the deployed policy, rho'_t - rho_t.
        advantages: (N, H) estimates of A(s_t, a_t) from what followed, such as G_t - V(s_t).
        present: (N, H) 1 where there is a turn.
    """
    return float(first_order_terms(ratio_changes, advantages, present).mean())


def fitted_gain(new_values: Array, deployed_values: Array) -> float:
    """Return the first-order gain by the fitted Q alone, without ratios (Kakade & Langford 2002).

    At the states of the deployed policy, by its own Q::

    mean over conversations of  sum_t (E_{a ~ pi'} Q(s_t, a) - E_{a ~ pi} Q(s_t, a))
    """
    return float((new_values - deployed_values).sum(1).mean())


def opening_gain(new_values: Array, deployed_values: Array) -> float:
    """Return the same at the first state alone: a new first response, and old ones after it.

    With the new policy's own Q in the place of the deployed one's it would be fitted Q evaluation
    (``fitted_evaluation``).
    """
    return float((new_values[:, 0] - deployed_values[:, 0]).mean())


def first_order_doubly_robust(
    ratio_changes: Array, returns: Array, q: Array, gains: Array, present: Array
) -> float:
    """Return ``fitted_gain``, corrected by what really followed what was said.

    Right in expectation, to first order, if the ratios are or Q is::

        mean over conversations of  sum_t gains_t + (rho'_t - rho_t) (G_t - Q(s_t, a_t) - c)

    Args:
        ratio_changes: (N, H) rho'_t - rho_t.
        returns: (N, H) G_t.
        q: (N, H) Q(s_t, a_t) of what was said.
        gains: (N, H) mean Q of what the new policy says, less that of what the deployed one says.
        present: (N, H) 1 where there is a turn.
    """
    return float(gains.sum(1).mean()) + first_order(ratio_changes, returns - q, present)


def effective_sample_size(log_weights: Array) -> float:
    """Return ``(sum w)^2 / sum w^2`` of N weights (Kong 1992): N if they are equal."""
    if not len(log_weights):
        return 0.0
    weights = np.exp(log_weights - log_weights.max())
    return float(weights.sum() ** 2 / (weights**2).sum())


def _shares(log_weights: Array) -> Array:
    """Return weights (N, H) whose columns sum to 1; by their largest, so that none overflow."""
    if not len(log_weights):
        return log_weights
    weights = np.exp(log_weights - log_weights.max(0))
    shares: Array = weights / weights.sum(0)
    return shares


def capped_ratios(log_ratios: Array, max_ratio: float) -> Array:
    """Return ratios (N, H) of at most ``max_ratio``; 1 after a conversation's end."""
    ratios: Array = np.exp(np.minimum(log_ratios, math.log(max_ratio)))
    return ratios


MAX_RATIO = 5.0
"""Cap of the ratio of one response, in the first-order estimates of ``GAINS``."""


def ratio_changes(evidence: Evidence, max_ratio: float = MAX_RATIO) -> Array:
    """Return rho'_t - rho_t (N, H), both capped."""
    changes: Array = capped_ratios(evidence.log_ratios, max_ratio) - capped_ratios(
        evidence.deployed_log_ratios, max_ratio
    )
    return changes


def coverage(evidence: Evidence, max_ratio: float = MAX_RATIO) -> float:
    """Return the mean capped ratio of the new policy, over what was said."""
    ratios = evidence.present * capped_ratios(evidence.log_ratios, max_ratio)
    return float(ratios.sum() / max(evidence.present.sum(), 1.0))


def _gain_of(value: Callable[[Evidence], float]) -> Callable[[Evidence], float]:
    """Return a value less that of the deployed policy: the log's own mean return."""
    return lambda evidence: value(evidence) - float(evidence.rewards.sum(1).mean())


GAINS: Mapping[str, Callable[[Evidence], float]] = MappingProxyType(
    {
        "importance sampling": _gain_of(lambda e: importance_sampling(e.log_ratios, e.rewards)),
        "weighted importance sampling": _gain_of(
            lambda e: weighted_importance_sampling(e.log_ratios, e.rewards)
        ),
        "per decision": _gain_of(lambda e: per_decision(e.log_ratios, e.rewards)),
        "weighted per decision": _gain_of(lambda e: weighted_per_decision(e.log_ratios, e.rewards)),
        "doubly robust": _gain_of(
            lambda e: doubly_robust(e.log_ratios, e.rewards, e.q, e.new_values)
        ),
        "weighted doubly robust": _gain_of(
            lambda e: weighted_doubly_robust(e.log_ratios, e.rewards, e.q, e.new_values)
        ),
        "first order": lambda e: first_order(ratio_changes(e), e.returns - e.values, e.present),
        "first order, fitted Q": lambda e: fitted_gain(e.new_values, e.deployed_values),
        "first order, doubly robust": lambda e: first_order_doubly_robust(
            ratio_changes(e), e.returns, e.q, e.new_values - e.deployed_values, e.present
        ),
        "fitted Q evaluation": _gain_of(lambda e: float(e.evaluated_values[:, 0].mean())),
        "doubly robust, evaluated Q": _gain_of(
            lambda e: doubly_robust(e.log_ratios, e.rewards, e.evaluated_q, e.evaluated_values)
        ),
        "weighted doubly robust, evaluated Q": _gain_of(
            lambda e: weighted_doubly_robust(
                e.log_ratios, e.rewards, e.evaluated_q, e.evaluated_values
            )
        ),
        "fitted Q at openings": lambda e: opening_gain(e.new_values, e.deployed_values),
    }
)
"""Estimates of what a new policy gains over the deployed one in mean return, by name."""


@dataclass(frozen=True, slots=True)
class Bootstrapped:
    """An estimate from all conversations, with what resampling them says of its error."""

    interval: Estimate
    """The percentile interval around the estimate."""
    standard_error: float


def bootstrap(
    estimator: Callable[[Evidence], float],
    evidence: Evidence,
    *,
    draws: int = 200,
    confidence: float = 0.95,
    seed: int = 0,
) -> Bootstrapped:
    """Return an estimate with its bootstrap interval over conversations (Efron 1979).

    With fewer than two conversations nothing is known of its error: it is infinite.
    """
    n = len(evidence)
    if n < 2:
        value = estimator(evidence) if n else 0.0
        return Bootstrapped(Estimate(value, -math.inf, math.inf), math.inf)
    random = np.random.default_rng(seed)
    values = [estimator(evidence.take(random.integers(n, size=n))) for _ in range(draws)]
    tail = (1 - confidence) / 2
    low, high = np.quantile(values, [tail, 1 - tail])
    return Bootstrapped(
        Estimate(estimator(evidence), float(low), float(high)), float(np.std(values, ddof=1))
    )
