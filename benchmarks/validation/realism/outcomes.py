"""Are outcomes as probable as they should be?

- A customer that says its probability (``latent["utility"]``, log-odds) is asked to buy by a seller
  of all qualities: at the first plain request, purchases and stated probabilities should agree.
- Whatever it says, the same profile is met again and again with other chance. How much of who buys
  is the profile's, and how much is chance, is a property of a population: the intraclass
  correlation. Beside an original, profile by profile, the two rates should agree.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from convgym.benchmarks.validation.decisions import BINS, Asked
from convgym.benchmarks.validation.limits import Limits
from convgym.benchmarks.validation.realism.bootstrap import bootstrap, mean_of, share_of, within
from convgym.benchmarks.validation.realism.figures import Figure, figure, not_measured
from convgym.statistics import Array, Estimate, wilson_interval

_CALIBRATION = Limits().calibration
_OVERALL = "purchases less stated probability"
_VARIED = "share of who buys that is the profile's"
_RATE = "purchases of repeated profiles"
_ALWAYS = "profiles that decide alike every time"
_APART = "purchases less the original's, profile by profile"
_ERROR = "squared error of a profile's rate, chance taken out"


def stated(asked: Sequence[Asked]) -> tuple[Figure, ...]:
    """Return how far purchases and stated probabilities agree, overall and in four ranges."""
    if not asked:
        why = "it states no probability: its hidden state has no utility"
        return (not_measured(_OVERALL, why),)
    figures = [_gap(_OVERALL, asked)]
    for low, high in pairwise(BINS):
        there = [a for a in asked if low <= a.predicted < high or a.predicted == high == 1]
        figures.append(_gap(f"{_OVERALL}, {low:.0%} to {high:.0%}", there))
    return tuple(figures)


def _gap(name: str, asked: Sequence[Asked]) -> Figure:
    """Return a rate, with Wilson's interval, less the mean of the probabilities."""
    n = len(asked)
    rate = wilson_interval(sum(each.bought for each in asked), n)
    mean = sum(each.predicted for each in asked) / n if n else 0.0
    estimate = Estimate(rate.value - mean, rate.low - mean, rate.high - mean)
    return figure(name, estimate, n, "requests to buy", least=-_CALIBRATION,
                  most=_CALIBRATION)  # fmt: skip


def intraclass(bought: Array, weights: Array) -> Array:
    """Return the intraclass correlation (R,) of outcomes (K, M).

    K profiles, weighted (R, K), are met M times each: (MSB - MSW) / (MSB + (M - 1) MSW), of the
    one-way analysis of variance (Shrout and Fleiss 1979, Psychological Bulletin 86, 420-428). 1 is
    a population in which the profile decides everything, 0 one in which it decides nothing; nan
    where all outcomes are alike.
    """
    k, m = bought.shape
    rates = bought.mean(1)
    mean = weights @ rates / k
    between = m * (weights * (rates - mean[:, None]) ** 2).sum(1) / (k - 1)
    within = weights @ (m * rates * (1 - rates)) / (k * (m - 1))
    with np.errstate(invalid="ignore"):
        return np.asarray((between - within) / (between + (m - 1) * within))


def _correlation(bought: Array) -> Estimate:
    k, m = bought.shape
    return within(bootstrap(lambda weights: intraclass(bought, weights), k), -1 / (m - 1))


def rate_error(own: Array, original: Array) -> Array:
    """Return the squared difference (K,) of two profiles' rates, less what chance adds to it.

    ``own`` (K, M) and ``original`` (K, M') are outcomes; a rate p of M meetings varies by
    p (1 - p) / (M - 1), estimated without bias. The mean over profiles has the right expectation,
    though a single one may be negative.
    """
    a, b = own.mean(1), original.mean(1)
    chance = a * (1 - a) / (own.shape[1] - 1) + b * (1 - b) / (original.shape[1] - 1)
    return np.asarray((a - b) ** 2 - chance)


def repeated(bought: Array, original: Array | None, why: str = "") -> tuple[Figure, ...]:
    """Return how profiles decide that are met again and again.

    Args:
        bought: (K, M) outcomes of K profiles met M times each.
        original: likewise of the original, with the same profiles.
        why: why the customer could not be met so, where there are no outcomes.
    """
    k, m = bought.shape
    if k < 2 or m < 2:
        why = why or "it takes two profiles and two meetings"
        return tuple(not_measured(name, why) for name in (_RATE, _VARIED, _ALWAYS))
    n = bought.size
    alike = np.isin(bought.mean(1), (0.0, 1.0))
    figures = [
        figure(_RATE, share_of(bought.sum(1).tolist(), [m] * k), n, "conversations"),
        figure(_VARIED, _correlation(bought), k, "profiles",
               why="all outcomes are alike" if bought.min() == bought.max() else ""),
        figure(_ALWAYS, share_of(alike.tolist(), [1] * k), k, "profiles"),
    ]  # fmt: skip
    if original is not None:
        figures += _beside_original(bought, original)
    return tuple(figures)


def _beside_original(bought: Array, original: Array) -> list[Figure]:
    k = len(bought)
    gaps = (bought.mean(1) - original.mean(1)).tolist()
    errors = rate_error(bought, original).tolist()
    return [
        figure(_APART, mean_of(gaps, [1.0] * k, 1.0), k, "profiles", least=-_CALIBRATION,
               most=_CALIBRATION),
        figure(_ERROR, mean_of(errors, [1.0] * k, 1.0), k, "profiles", ""),
    ]  # fmt: skip
