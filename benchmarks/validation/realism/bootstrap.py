"""Intervals of figures over conversations: the bootstrap by cluster.

Replies of one conversation are alike, and so are the conversations that one customer has with
several sellers. So whole clusters are drawn, with replacement, and never single replies.

A statistic is written as a function of weights, how often each cluster was drawn: many resamples
are then one matrix product.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from convgym.statistics import (
    Array,
    Estimate,
    normal_quantile,
    t_quantile,
    wilson_bounds,
    wilson_interval,
)

RESAMPLES = 1000
CHUNK = 50
"""Resamples at a time: a large log has many templates, and a row of counts for each resample."""

FEW = 10
"""Below so many clusters a share has the interval of a share of clusters."""

Statistic = Callable[[Array], Array]
"""The figure (R,) of R resamples, given how often (R, N) each of N clusters is in them."""

UNKNOWN = Estimate(math.nan, -math.inf, math.inf)


def bootstrap(statistic: Statistic, clusters: int, resamples: int = RESAMPLES) -> Estimate:
    """Return a statistic of N clusters with its 95% bootstrap interval.

    The percentiles are those of the resamples, moved so that the resamples' mean becomes the
    statistic: where clusters come twice, words repeat and kinds are missing, so that a resample's
    diversity is lower than that of the sample for no other reason. A nan among the resamples (a
    share of nothing) is left out. The resamples are spread by ``sqrt(N / (N - 1))`` times the
    quantile of Student's t over the normal one, since percentiles of few clusters are too narrow
    (Hesterberg 2015, The American Statistician 69, 371-386). One cluster says nothing of others:
    its interval is the whole line.

    Source: Davison and Hinkley (1997), Bootstrap Methods and their Application, section 3.8.
    """
    if clusters == 0:
        return UNKNOWN
    value = float(statistic(np.ones((1, clusters)))[0])
    if clusters < 2 or math.isnan(value):
        return Estimate(value, -math.inf, math.inf)
    rng = np.random.default_rng(clusters)  # equal data, equal interval
    shares = np.full(clusters, 1 / clusters)
    drawn = [
        statistic(
            rng.multinomial(clusters, shares, size=min(CHUNK, resamples - done)).astype(float)
        )
        for done in range(0, resamples, CHUNK)
    ]
    values = np.concatenate(drawn)
    values = values[np.isfinite(values)]
    if not len(values):
        return Estimate(value, -math.inf, math.inf)
    wider = (
        t_quantile(0.975, clusters - 1)
        / normal_quantile(0.95)
        * math.sqrt(clusters / (clusters - 1))
    )
    low, high = np.percentile(values - values.mean(), [2.5, 97.5])
    return Estimate(value, value + wider * float(low), value + wider * float(high))


def ratio(parts: Sequence[float], wholes: Sequence[float]) -> Statistic:
    """Return the statistic ``sum(parts) / sum(wholes)`` of clusters (N,); nan without a whole."""
    a, b = np.asarray(parts, float), np.asarray(wholes, float)

    def statistic(weights: Array) -> Array:
        below = weights @ b
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray(np.where(below > 0, weights @ a / below, np.nan))

    return statistic


def mean_of(parts: Sequence[float], wholes: Sequence[float], span: float | None = None) -> Estimate:
    """Return ``sum(parts) / sum(wholes)`` over clusters (N,), such as words over replies.

    Where all clusters are alike no resample differs. If a single value may lie ``span`` away, the
    interval then is what Wilson's says of a rare one that was not seen.
    """
    estimate = bootstrap(ratio(parts, wholes), len(parts))
    if span is None or not len(parts) or estimate.low < estimate.value < estimate.high:
        return estimate
    half = span * wilson_interval(0, len(parts)).high
    return Estimate(estimate.value, estimate.value - half, estimate.value + half)


def share_of(parts: Sequence[float], wholes: Sequence[float]) -> Estimate:
    """Return a share in [0, 1], such as that of replies which ask something, over clusters.

    Where none or all do, no resample differs, and fewer than ``FEW`` clusters are alike by chance.
    The interval then is Wilson's of the clusters, as if each were of one kind: it is too wide
    rather than too narrow.
    """
    kept = [(a, b) for a, b in zip(parts, wholes, strict=True) if b]
    if not kept:
        return Estimate(math.nan, 0.0, 1.0)
    estimate = mean_of([a for a, _ in kept], [b for _, b in kept])
    n, value = len(kept), estimate.value
    if value in (0.0, 1.0) or n < FEW:
        low, high = wilson_bounds(np.array(value), n, normal_quantile(0.95))
        return Estimate(value, float(low), float(high))
    return within(estimate)


def within(estimate: Estimate, least: float = 0.0, most: float = 1.0) -> Estimate:
    """Return an estimate whose interval ends where the number can."""
    return Estimate(estimate.value, max(least, estimate.low), min(most, estimate.high))
