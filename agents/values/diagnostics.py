"""How good a fitted Q is, where it matters: measures of Q_hat against true values.

A loss tells little of a Q, as most of it is about states, while an improvement step lives on the
differences between responses to one state. Here both are measured, as functions of arrays:

    predicted  (S, K)     Q_hat of K responses to each of S states
    returns    (S, K, R)  returns in [0, 1] of R rollouts of each (``true_values.branch``), mostly
                          one bit; NaN where one failed

True values are means of a few rollouts. What their sampling error adds to a spread or takes from a
correlation is large, and is estimated and corrected wherever a function says so. All intervals and
corrections take rollouts as independent.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from convgym.statistics import nan_mean, nan_standard_error, normal_quantile, wilson_bounds

Array = NDArray[np.float64]
Kind = Literal["pearson", "spearman", "kendall"]


# Predictions of single outcomes.


@dataclass(frozen=True, slots=True)
class Calibration:
    """Predictions in B bins of about equal counts, beside what happened."""

    predicted: Array
    """(B,) mean prediction."""
    observed: Array
    """(B,) mean outcome."""
    low: Array
    """(B,) lower end of the outcome's 95% Wilson interval; outcomes taken as independent."""
    high: Array
    """(B,) its upper end."""
    counts: NDArray[np.int64]
    """(B,) number of outcomes."""
    expected_error: float
    """Mean over outcomes of the bin's ``|predicted - observed|``."""
    expected_noise: float
    """About what that would be if every prediction were right: by chance alone."""


def calibration(predicted: ArrayLike, outcomes: ArrayLike, bins: int = 10) -> Calibration:
    """Return the calibration curve of predictions (N,) of outcomes (N,) in [0, 1].

    Equal predictions share a bin, so there may be fewer than ``bins``.
    """
    p, y = np.asarray(predicted, float).ravel(), np.asarray(outcomes, float).ravel()
    edges = np.unique(np.quantile(p, np.linspace(0, 1, bins + 1)[1:-1]))
    _, group = np.unique(np.searchsorted(edges, p, side="right"), return_inverse=True)
    counts = np.bincount(group)
    mean_p, mean_y = (np.bincount(group, values) / counts for values in (p, y))
    low, high = wilson_bounds(mean_y, counts, normal_quantile(0.95))
    share = counts / len(p)
    # The mean of |N(0, s^2)| is s sqrt(2 / pi).
    noise = np.sqrt(2 / np.pi * np.clip(mean_p * (1 - mean_p), 0, None) / counts)
    return Calibration(
        predicted=mean_p,
        observed=mean_y,
        low=low,
        high=high,
        counts=counts,
        expected_error=float(share @ np.abs(mean_p - mean_y)),
        expected_noise=float(share @ noise),
    )


def auc(scores: ArrayLike, outcomes: ArrayLike) -> float:
    """Return the probability that a success scores above a failure, ties counted half.

    Outcomes above 0 are successes. NaN where there is only one kind.
    """
    score, success = np.asarray(scores, float).ravel(), np.asarray(outcomes).ravel() > 0
    positives, negatives = int(success.sum()), int((~success).sum())
    if not positives or not negatives:
        return float("nan")
    ranks = stats.rankdata(score)
    above = ranks[success].sum() - positives * (positives + 1) / 2
    return float(above / (positives * negatives))


def log_loss(predicted: ArrayLike, outcomes: ArrayLike) -> float:
    """Return the mean cross-entropy, in nats, of outcomes in [0, 1] under probabilities."""
    # A Q that is no probability, as a sum V + A may be, pays for it without being infinite.
    p = np.clip(np.asarray(predicted, float), 1e-6, 1 - 1e-6)
    y = np.asarray(outcomes, float)
    return float(-np.mean(y * np.log(p) + (1 - y) * np.log1p(-p)))


def constant_loss(outcomes: ArrayLike) -> float:
    """Return ``log_loss`` of the best constant, the mean outcome."""
    y = np.asarray(outcomes, float)
    return log_loss(np.full(y.shape, y.mean()), y)


# Spread: how much there is to know.


@dataclass(frozen=True, slots=True)
class Spread:
    """Standard deviations of true values, freed of sampling error."""

    across: float
    """Of states: of the mean over the responses that the policy could give."""
    within: float
    """Of responses to one state."""
    noise: float
    """Of the sampling error of one response's mean, which the two others do not hold."""


def spread(returns: Array) -> Spread:
    """Return the spread of true Q across and within states, corrected for sampling error.

    A random-effects analysis of variance; the responses are taken as a sample of the policy's. A
    variance that the correction makes negative is reported as 0.
    """
    q, noise = nan_mean(returns), float((nan_standard_error(returns) ** 2).mean())
    scatter = float(q.var(axis=1, ddof=1).mean())
    across = float(q.mean(axis=1).var(ddof=1)) - scatter / q.shape[1]
    return Spread(
        across=max(0.0, across) ** 0.5,
        within=max(0.0, scatter - noise) ** 0.5,
        noise=noise**0.5,
    )


def explained(predicted: ArrayLike, returns: Array) -> float:
    """Return R^2, the share of the true values' variance that a prediction (S, K) explains.

    Sampling error is taken out of both variances, so the true values themselves would have 1 in
    expectation. A prediction (S, 1) for all responses of a state, V_hat, is fine: a Q_hat whose R^2
    is hardly above that of its V_hat tells states apart, not responses.
    """
    q, noise = nan_mean(returns), float((nan_standard_error(returns) ** 2).mean())
    error = float(((np.asarray(predicted, float) - q) ** 2).mean()) - noise
    variance = float(q.var()) - noise * (1 - 1 / q.size)
    return 1 - error / variance if variance > 0 else float("nan")


# Responses to one state, compared with each other.


@dataclass(frozen=True, slots=True)
class Correlation:
    """A correlation within states, and what it would be without sampling error of true values."""

    observed: float
    """Attenuated by sampling error."""
    reliability: float
    """Correlation that a second set of as many rollouts would have with the first."""
    corrected: float
    """``observed / sqrt(reliability)``, for Kendall's tau on the linear scale; NaN where the
    rollouts tell nothing."""
    states: int
    """States in which both vary; the others have no correlation and are left out."""


def within_state_correlation(
    predicted: Array, returns: Array, kind: Kind = "spearman", *, splits: int = 20, seed: int = 0
) -> Correlation:
    """Correlate Q_hat with true Q over the responses to a state.

    "spearman" and "kendall" (tau-b) are means over states. Their reliability comes from split
    halves of the rollouts by the Spearman-Brown formula, which is exact for linear correlations
    and approximate for ranks; Kendall's tau is taken through Greiner's relation to a linear one,
    ``rho = sin(pi tau / 2)``, and back. "pearson" pools the states' covariances and variances,
    weighs states by how much there is to tell apart, and its correction is exact in expectation.

    Args:
        predicted: (S, K).
        returns: (S, K, R).
        kind: of correlation.
        splits: random splits into halves, averaged.
        seed: of the splits.
    """
    q = nan_mean(returns)
    rows = row_correlations(predicted, q, kind)
    states = int(np.isfinite(rows).sum())
    if kind == "pearson":
        x, y = (values - values.mean(1, keepdims=True) for values in (predicted, q))
        total = float((y**2).sum())
        noise = float((nan_standard_error(returns) ** 2).sum()) * (1 - 1 / q.shape[1])
        scale = (float((x**2).sum()) * total) ** 0.5
        observed = float((x * y).sum()) / scale if scale > 0 else float("nan")
        reliability = (total - noise) / total if total > 0 else float("nan")
        return Correlation(observed, reliability, _disattenuated(observed, reliability), states)
    observed = _mean_known(rows)
    halves = _mean_known(
        [
            _mean_known(row_correlations(nan_mean(half), nan_mean(other), kind))
            for half, other in _halves(returns, splits, seed)
        ]
    )
    if kind == "spearman":
        reliability = _spearman_brown(halves)
        return Correlation(observed, reliability, _disattenuated(observed, reliability), states)
    linear = _spearman_brown(math.sin(math.pi / 2 * halves))
    corrected = _disattenuated(math.sin(math.pi / 2 * observed), linear)
    return Correlation(observed, _tau(linear), _tau(corrected), states)


def _spearman_brown(halves: float) -> float:
    """Return the reliability of all rollouts from the correlation of two halves."""
    return 2 * halves / (1 + halves) if halves > -1 else float("nan")


def _disattenuated(observed: float, reliability: float) -> float:
    return observed / math.sqrt(reliability) if reliability > 0 else float("nan")


def _tau(linear: float) -> float:
    return 2 / math.pi * math.asin(max(-1.0, min(1.0, linear))) if linear == linear else linear


def row_correlations(x: Array, y: Array, kind: Kind) -> Array:
    """Return the correlation (S,) of each row of x (S, K) with that of y; NaN if one is constant.

    So Q_hat can be correlated with anything else about responses, such as their length.
    """
    varies = (np.ptp(x, axis=1) > 0) & (np.ptp(y, axis=1) > 0)
    if kind == "spearman":
        x, y = stats.rankdata(x, axis=1), stats.rankdata(y, axis=1)
    if kind == "kendall":  # tau-b is the correlation of the signs of all pairs' differences
        a, b = (
            np.sign(values[:, :, None] - values[:, None, :]).reshape(len(values), -1)
            for values in (x, y)
        )
    else:
        a, b = (values - values.mean(1, keepdims=True) for values in (x, y))
    scale = np.where(varies, np.sqrt((a**2).sum(1) * (b**2).sum(1)), 1.0)
    correlations: Array = np.where(varies, (a * b).sum(1) / scale, np.nan)
    return correlations


def length_correlation(scores: Array, lengths: ArrayLike) -> float:
    """Return the mean Spearman correlation, over states, of scores (S, K) and lengths (S, K)."""
    return _mean_known(row_correlations(scores, np.asarray(lengths, float), "spearman"))


def sign_agreement(estimated: ArrayLike, true: ArrayLike, *, weighted: bool = False) -> float:
    """Return how often advantages (...) have the sign of the true ones; chance level is 1/2.

    A zero on either side counts half. ``weighted`` by ``|true|``: a wrong sign costs what it
    matters. Sampling error of the true advantages draws both towards 1/2.
    """
    a, b = np.asarray(estimated, float), np.asarray(true, float)
    weights = np.abs(b) if weighted else np.ones(b.shape)
    total = float(weights.sum())
    agreement = (1 + np.sign(a) * np.sign(b)) / 2
    return float((weights * agreement).sum()) / total if total > 0 else float("nan")


@dataclass(frozen=True, slots=True)
class BestOfN:
    """What choosing the best of K sampled responses by Q_hat adds to the value of one turn."""

    gain: float
    """True value of the chosen minus that of a random one; unbiased."""
    se: float
    """Its standard error over states; NaN for a single state."""
    headroom: float
    """The same for a choice by one half of the rollouts, judged by the other: a lower bound, in
    expectation, of what the choice by the true Q would gain."""


def best_of_n(predicted: Array, returns: Array, *, splits: int = 20, seed: int = 0) -> BestOfN:
    """Return the gain from picking argmax Q_hat of each state's responses; ties share it."""
    gains = _gains(predicted, nan_mean(returns))
    s = len(gains)
    headroom = [
        (_gains(nan_mean(half), nan_mean(other)) + _gains(nan_mean(other), nan_mean(half))).mean()
        / 2
        for half, other in _halves(returns, splits, seed)
    ]
    return BestOfN(
        gain=float(gains.mean()),
        se=float(gains.std(ddof=1) / s**0.5) if s > 1 else float("nan"),
        headroom=_mean_known(headroom),
    )


def _gains(scores: Array, values: Array) -> Array:
    best = scores == scores.max(1, keepdims=True)
    gains: Array = (best * values).sum(1) / best.sum(1) - values.mean(1)
    return gains


# The error of Q.


@dataclass(frozen=True, slots=True)
class QError:
    """|Q_hat - Q|, beside what sampling error alone would show of a perfect Q_hat."""

    max: float
    """eps_Q of Theorem 2, over the pairs that were measured."""
    p95: float
    """95th percentile."""
    rmse: float
    """Root mean square."""
    noise_max: float
    noise_p95: float
    noise_rmse: float

    @property
    def corrected_rmse(self) -> float:
        """The root mean square without sampling error; 0 where that explains all of it."""
        return math.sqrt(max(0.0, self.rmse**2 - self.noise_rmse**2))


def q_error(predicted: Array, returns: Array, *, draws: int = 200, seed: int = 0) -> QError:
    """Return the error of Q_hat and the sampling error's contribution.

    The sampling error of a mean is drawn from a binomial distribution whose rate is shrunk a
    little towards 1/2, as pairs that never (or always) sold have a sampling error too. That is
    right for one-bit returns and an upper bound for discounted ones.
    """
    n = np.isfinite(returns).sum(-1)
    q = nan_mean(returns)
    rate = (n * q + 0.5) / (n + 1)
    noise = np.abs(np.random.default_rng(seed).binomial(n, rate, (draws, *n.shape)) / n - rate)
    noise = noise.reshape(draws, -1)
    error = np.abs(np.asarray(predicted, float) - q)
    return QError(
        max=float(error.max()),
        p95=float(np.quantile(error, 0.95)),
        rmse=float((error**2).mean() ** 0.5),
        noise_max=float(noise.max(1).mean()),
        noise_p95=float(np.quantile(noise, 0.95, axis=1).mean()),
        noise_rmse=float((noise**2).mean() ** 0.5),
    )


# Does Q read the response at all?


@dataclass(frozen=True, slots=True)
class Shuffle:
    """The loss of Q with the responses that were given, and with those of other states."""

    loss: float
    shuffled: float
    se: float
    """Standard error of ``shuffled`` over the repeats; NaN for one."""

    @property
    def rise(self) -> float:
        """How much worse Q becomes: near 0 for a Q that looks at the state alone."""
        return self.shuffled - self.loss


def action_shuffle(
    loss: Callable[[NDArray[np.int64]], float],
    n: int,
    *,
    groups: Sequence[int] | None = None,
    repeats: int = 5,
    seed: int = 0,
) -> Shuffle:
    """Measure how much the loss of Q rises when responses are shuffled among states.

    Args:
        loss: given a permutation of 0 .. n - 1, the loss of Q on the outcomes of the states when
            state i is read with the response of state ``permutation[i]``.
        n: number of states.
        groups: (n,), responses are shuffled within equal groups only; the number of the turn keeps
            out responses that are strange for where they stand.
        repeats: permutations, averaged.
        seed: of the permutations.
    """
    rng = np.random.default_rng(seed)
    members = np.zeros(n, int) if groups is None else np.asarray(groups)
    losses = []
    for _ in range(repeats):
        permutation = np.arange(n)
        for group in np.unique(members):
            (places,) = np.nonzero(members == group)
            permutation[places] = rng.permutation(places)
        losses.append(loss(permutation))
    return Shuffle(
        loss=loss(np.arange(n)),
        shuffled=float(np.mean(losses)),
        se=float(np.std(losses, ddof=1) / repeats**0.5) if repeats > 1 else float("nan"),
    )


def _halves(returns: Array, splits: int, seed: int) -> Iterator[tuple[Array, Array]]:
    """Yield random halves of the rollouts of every response; none where there is but one."""
    rollouts = returns.shape[-1]
    rng = np.random.default_rng(seed)
    for _ in range(splits if rollouts > 1 else 0):
        mixed = returns[..., rng.permutation(rollouts)]
        yield mixed[..., : rollouts // 2], mixed[..., rollouts // 2 : 2 * (rollouts // 2)]


def _mean_known(values: ArrayLike) -> float:
    known = np.asarray(values, float)
    known = known[np.isfinite(known)]
    return float(known.mean()) if len(known) else float("nan")
