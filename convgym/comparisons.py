"""Who sold more, of two who met the same customers: paired differences, over training seeds too.

Customers are crossed with training seeds: each is met by every trained copy of either agent, while
the seeds of one agent have nothing to do with those of the other. A difference of mean conversions
therefore varies with three things, drawn anew in a new experiment: the seeds of the one, the seeds
of the other, and the customers, whose ease both share.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from convgym.errors import ConvgymError
from convgym.statistics import Array, Estimate

_PSEUDO = 2
"""Customers added to the variance, one who bought of either alone: see ``_of_customers``."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """The difference of two mean conversions, with its 95% interval.

    ``p_value`` is that of the two-sided t test that there is none. ``degrees`` are its degrees of
    freedom, by Satterthwaite, and ``customers`` those who were met by everybody. ``seeds`` are the
    numbers of training seeds: where one is 1, the interval holds for that trained copy alone.
    """

    difference: Estimate
    p_value: float
    degrees: float
    customers: int
    seeds: tuple[int, int]


def compare(a: Array, b: Array, confidence: float = 0.95) -> Comparison:
    """Return how much more ``a`` sold than ``b``, by a Welch interval over seeds and customers.

    Customers who failed anywhere are left out; with less than two others the interval is [-1, 1].

    The variance of the difference is the sum of

    - for each agent of several seeds, the between-seed variance of its mean over S seeds, less what
      chance within conversations adds to it, that being in the customers' part already: the
      estimator of two-way crossed random effects, (MS_seeds - MS_residual) / (S C), at least 0;
    - the variance of the mean over customers of their paired differences,

    and its degrees of freedom are those of Satterthwaite, in which the seeds' mean squares count in
    full. ``convgym study comparison-coverage`` simulates what this covers and how wide it is,
    beside resampled seeds and customers, which cover too little where few seeds differ much, and
    beside intervals that forget the pairing (``statistics.difference``), which are far wider.

    Sources: Welch (1947), Biometrika 34, 28-35; Satterthwaite (1946), Biometrics Bulletin 2,
    110-114; Searle, Casella and McCulloch (1992), Variance Components, chapter 4; Bonett and Price
    (2012), Journal of Educational and Behavioral Statistics 37, 479-488, for the customers added.

    Args:
        a: (S, C), a row a training seed, a column a customer: 1 sold, 0 not, NaN a conversation
            that failed. Who is not trained has one row.
        b: (S', C), the same customers in the same order.
        confidence: of the interval.

    Raises:
        ConvgymError: for tables of other shapes, and other customers.
    """
    from scipy.special import stdtr, stdtrit

    a, b = _table(a), _table(b)
    if a.shape[1] != b.shape[1]:
        raise ConvgymError(
            f"a paired comparison needs the same customers, got {a.shape[1]} and {b.shape[1]}"
        )
    whole = np.isfinite(a).all(0) & np.isfinite(b).all(0)
    a, b = a[:, whole], b[:, whole]
    customers = a.shape[1]
    value = float(a.mean() - b.mean()) if customers else math.nan
    if customers < 2:
        return Comparison(Estimate(value, -1.0, 1.0), 1.0, 0.0, customers, (len(a), len(b)))
    shared = _of_customers(a.mean(0) - b.mean(0))
    parts = [_of_seeds(table) for table in (a, b)]
    variance = shared + sum(part for part, _, _ in parts)
    terms = shared**2 / (customers - 1) + sum(full**2 / max(n, 1) for _, full, n in parts)
    degrees = variance**2 / terms
    error = math.sqrt(variance)
    half = float(stdtrit(degrees, 0.5 + confidence / 2)) * error
    return Comparison(
        Estimate(value, max(-1.0, value - half), min(1.0, value + half)),
        p_value=float(2 * stdtr(degrees, -abs(value) / error)),
        degrees=degrees,
        customers=customers,
        seeds=(len(a), len(b)),
    )


def holm(p_values: Sequence[float]) -> NDArray[np.float64]:
    """Return p-values adjusted for being several: some is below x by chance in at most x of cases.

    Whatever their dependence, as of pairs that share a row. Source: Holm (1979), Scandinavian
    Journal of Statistics 6, 65-70.
    """
    p = np.asarray(p_values, float)
    order = np.argsort(p, kind="stable")
    steps = p[order] * np.arange(len(p), 0, -1)
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return adjusted


def _table(rows: Array) -> Array:
    table = np.asarray(rows, float)
    if table.ndim != 2 or not len(table):
        raise ConvgymError(
            f"expected a table of training seeds by customers, got the shape {table.shape}"
        )
    return table


def _of_customers(differences: Array) -> float:
    """Return the variance of the mean of paired differences (C,).

    Two more customers, one who buys of the one alone and one of the other, keep it above 0 where
    everybody decided alike: nobody is as sure as that (Bonett and Price 2012).
    """
    squares = float(((differences - differences.mean()) ** 2).sum()) + _PSEUDO
    n = len(differences)
    return squares / (n * (n - 1))


def _of_seeds(table: Array) -> tuple[float, float, int]:
    """Return the variance that the choice of seeds adds to a mean, the one seen, and its degrees.

    Zero for one row: there is no telling how another training run would end.
    """
    seeds, customers = table.shape
    if seeds < 2:
        return 0.0, 0.0, 0
    by_seed = table.mean(1, keepdims=True)
    seen = float(by_seed.var(ddof=1)) / seeds
    residuals = table - by_seed - table.mean(0) + table.mean()
    chance = float((residuals**2).sum()) / ((seeds - 1) * (customers - 1) * seeds * customers)
    return max(0.0, seen - chance), seen, seeds - 1
