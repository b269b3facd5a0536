"""Interval estimates for conversion rates, and means of returns some of which are unknown.

Quantiles come from SciPy, which is loaded with the first of them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from convgym.errors import ConvgymError

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Estimate:
    """A number with its confidence interval; ``value`` is nan when nothing was observed."""

    value: float
    low: float
    high: float


def wilson_interval(successes: int, n: int, confidence: float = 0.95) -> Estimate:
    """Return a proportion with its Wilson score interval; all of [0, 1] when ``n`` is 0.

    Over evaluation episodes it covers the draw of customers and chance within conversations,
    for this one seller. It says nothing about another training run.
    Source: Wilson (1927), JASA 22, 209-212. Raises ConvgymError on impossible counts.
    """
    if not 0 <= successes <= n:
        raise ConvgymError(f"expected 0 <= successes <= n, got successes={successes}, n={n}")
    if n == 0:
        return Estimate(math.nan, 0.0, 1.0)
    rate = np.array(successes / n)
    low, high = wilson_bounds(rate, n, normal_quantile(confidence))
    return Estimate(successes / n, float(low), float(high))


def ratio_interval(parts: Sequence[int], wholes: Sequence[int]) -> Estimate:
    """Return the share ``sum(parts) / sum(wholes)`` with its 95% interval, clusters being paired.

    For things that come in clusters, such as suggestions in conversations, whose number is random
    as well: the linearised variance of a ratio of means over clusters (Cochran 1977, Sampling
    Techniques, equation 2.39). nan in [0, 1] without a whole.
    """
    n, whole = len(wholes), sum(wholes)
    if whole == 0:
        return Estimate(math.nan, 0.0, 1.0)
    ratio = sum(parts) / whole
    if n < 2:
        return Estimate(ratio, 0.0, 1.0)
    squares = sum((a - ratio * b) ** 2 for a, b in zip(parts, wholes, strict=True))
    half = normal_quantile(0.95) * math.sqrt(n / (n - 1) * squares) / whole
    return Estimate(ratio, max(0.0, ratio - half), min(1.0, ratio + half))


def mean_over_seeds(estimates: Sequence[Estimate]) -> Estimate:
    """Return the mean over training seeds of shares on the same customers, as ``seeds_interval``.

    The interval of one seed is its own. Raises ConvgymError when there are none.
    """
    if not estimates:
        raise ConvgymError("expected an estimate for each seed, got none")
    if len(estimates) == 1:
        return estimates[0]
    n = len(estimates)
    below = sum(each.value - each.low for each in estimates) / n
    above = sum(each.high - each.value for each in estimates) / n
    over_seeds = t_interval([each.value for each in estimates])
    return _with_customers(over_seeds, Estimate(0.0, -below, above))


def difference(a: Estimate, b: Estimate) -> Estimate:
    """Return ``a - b`` with an interval built from the two intervals.

    For two independent Wilson intervals this is Newcombe's method 10 (Newcombe 1998, Statistics
    in Medicine 17, 873-890); in general, MOVER (Zou and Donner 2008, Statistics in Medicine 27,
    1693-1702). When both met the same customers, as in the suites, it is a little too wide.
    """
    value = a.value - b.value
    low = value - math.hypot(a.value - a.low, b.high - b.value)
    high = value + math.hypot(a.high - a.value, b.value - b.low)
    return Estimate(value, low, high)


def newcombe_interval(
    successes_a: int, n_a: int, successes_b: int, n_b: int, confidence: float = 0.95
) -> Estimate:
    """Return the difference of two independent proportions, ``a - b``, by Newcombe's method."""
    return difference(
        wilson_interval(successes_a, n_a, confidence), wilson_interval(successes_b, n_b, confidence)
    )


def two_proportion_test(successes_a: int, n_a: int, successes_b: int, n_b: int) -> float:
    """Return the two-sided p-value of the pooled z-test that two proportions are equal.

    The square of z is Pearson's chi-squared of the 2x2 table, without continuity correction.
    Raises ConvgymError on impossible counts; 1.0 when the data cannot tell (all or none).
    """
    for successes, n in ((successes_a, n_a), (successes_b, n_b)):
        if not 0 <= successes <= n or n == 0:
            raise ConvgymError(f"expected 0 <= successes <= n and n > 0, got {successes} of {n}")
    pooled = (successes_a + successes_b) / (n_a + n_b)
    variance = pooled * (1 - pooled) * (1 / n_a + 1 / n_b)
    if variance == 0:
        return 1.0
    z = (successes_a / n_a - successes_b / n_b) / math.sqrt(variance)
    return math.erfc(abs(z) / math.sqrt(2))


def t_interval(values: Sequence[float], confidence: float = 0.95) -> Estimate:
    """Return a mean with Student's t interval. Raises ConvgymError below two values."""
    n = len(values)
    if n < 2:
        raise ConvgymError(f"a t interval needs at least 2 values, got {n}")
    mean = math.fsum(values) / n
    variance = math.fsum((value - mean) ** 2 for value in values) / (n - 1)
    half = t_quantile(0.5 + confidence / 2, n - 1) * math.sqrt(variance / n)
    return Estimate(mean, mean - half, mean + half)


def seeds_interval(
    successes: Sequence[int], n: Sequence[int], confidence: float = 0.95
) -> Estimate:
    """Return the mean conversion over training seeds, each evaluated on the same customers.

    Covers a new training seed *and* new evaluation customers. A t interval over the seeds alone
    would miss what the shared customers add to every seed alike, so its half-width is combined
    in quadrature with that of a Wilson interval over the customers (MOVER, see ``difference``);
    chance within conversations is counted in both, which errs on the wide side. One seed gives
    the Wilson interval alone: there is no telling how another training run would end.
    Raises ConvgymError when there are no seeds or a seed without episodes.
    """
    if not successes or len(successes) != len(n) or min(n) == 0:
        raise ConvgymError("expected one count of successes and episodes, above 0, for each seed")
    if len(successes) == 1:
        return wilson_interval(successes[0], n[0], confidence)
    over_seeds = t_interval([k / m for k, m in zip(successes, n, strict=True)], confidence)
    mean, customers = over_seeds.value, min(n)
    over_customers = wilson_interval(round(mean * customers), customers, confidence)
    return _with_customers(over_seeds, over_customers)


def paired_difference(a: ArrayLike, b: ArrayLike) -> Estimate:
    """Return the mean of ``a - b``, outcomes (S, N) of S training seeds and N shared customers.

    Covers new training seeds *and* new customers, as ``seeds_interval`` does: the half-width of a
    t interval over the seeds' differences is combined in quadrature with a normal one over the
    customers' (their mean difference over the seeds). What makes a customer easy for both falls
    out, so the interval is narrower than that of ``difference``. One seed gives the customers'
    interval alone. Raises ConvgymError unless both are of one shape with N above 1.
    """
    x, y = np.asarray(a, float), np.asarray(b, float)
    if x.shape != y.shape or x.ndim != 2 or x.shape[0] < 1 or x.shape[1] < 2:
        raise ConvgymError(
            "expected outcomes (S, N) of the same S seeds and N > 1 customers, "
            f"got {x.shape} and {y.shape}"
        )
    gaps = x - y
    error = float(gaps.mean(axis=0).std(ddof=1)) / math.sqrt(gaps.shape[1])
    half = normal_quantile(0.95) * error
    if len(gaps) > 1:
        over_seeds = t_interval(gaps.mean(axis=1).tolist())
        half = math.hypot(half, over_seeds.high - over_seeds.value)
    mean = float(gaps.mean())
    return Estimate(mean, mean - half, mean + half)


def _with_customers(seeds: Estimate, customers: Estimate) -> Estimate:
    """Return the first share with the two intervals combined in quadrature."""
    half, mean = seeds.value - seeds.low, seeds.value
    return Estimate(
        mean,
        max(0.0, mean - math.hypot(half, customers.value - customers.low)),
        min(1.0, mean + math.hypot(half, customers.high - customers.value)),
    )


def t_quantile(probability: float, degrees: int) -> float:
    """Return the quantile of Student's t for ``probability`` in (0, 1)."""
    if not 0 < probability < 1 or degrees < 1:
        raise ConvgymError(
            f"expected 0 < probability < 1 and degrees >= 1, got {probability} and {degrees}"
        )
    from scipy.special import stdtrit

    return float(stdtrit(degrees, probability))


def normal_quantile(confidence: float) -> float:
    """Return how many standard deviations to either side hold a share ``confidence``."""
    if not 0 < confidence < 1:
        raise ConvgymError(f"expected 0 < confidence < 1, got {confidence}")
    from scipy.special import ndtri

    return float(ndtri(0.5 + confidence / 2))


def nan_mean(returns: Array) -> Array:
    """Return the mean (...) over the last axis, failures left out; NaN where nothing is left."""
    known = np.isfinite(returns)
    with np.errstate(invalid="ignore"):
        average: Array = np.where(known, returns, 0.0).sum(-1) / known.sum(-1)
    return average


def nan_standard_error(returns: Array) -> Array:
    """Return the mean's standard error (...); NaN where less than two returns are left."""
    known = np.isfinite(returns)
    n = known.sum(-1)
    deviation = np.where(known, returns - nan_mean(returns)[..., None], 0.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        error: Array = np.sqrt((deviation**2).sum(-1) / (n - 1) / n)
    return error


def wilson_bounds(rates: Array, counts: ArrayLike, z: float) -> tuple[Array, Array]:
    """Return the ends (...) of Wilson's score intervals of rates (...) out of counts (...).

    They reach ``z`` standard deviations to either side. Source: Wilson (1927), JASA 22, 209-212.
    """
    n = np.asarray(counts, float)
    shrink = 1 / (1 + z**2 / n)
    centre = shrink * (rates + z**2 / (2 * n))
    half = shrink * z * np.sqrt(rates * (1 - rates) / n + z**2 / (4 * n**2))
    # Exact at the ends, where rounding would leave 1e-17 outside the interval.
    return np.where(rates <= 0, 0.0, centre - half), np.where(rates >= 1, 1.0, centre + half)
