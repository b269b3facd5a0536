"""Measures of a fitted Q against naive loops, closed forms and simulations with known truth."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from scipy import stats

from convgym.agents.values import diagnostics as measure
from convgym.agents.values.diagnostics import Kind
from convgym.agents.values.report import q_report
from convgym.errors import ConvgymError
from convgym.statistics import nan_mean, nan_standard_error, wilson_bounds

Array = NDArray[np.float64]

# Few values, so that ties are common.
levels = st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.8, 1.0])
bits = st.sampled_from([0.0, 1.0])


def tables(elements: st.SearchStrategy[float], *shape: int) -> st.SearchStrategy[Array]:
    return arrays(np.float64, shape, elements=elements)


def simulate(
    states: int, responses: int, rollouts: int, across: float = 0.15, within: float = 0.1
) -> tuple[Array, Array]:
    """Return true Q (S, K), of these standard deviations, and one-bit returns (S, K, R)."""
    rng = np.random.default_rng(0)
    # Two-valued, so that all stay within [0, 1].
    q = (
        0.5
        + across * rng.choice([-1, 1], (states, 1))
        + within * rng.choice([-1, 1], (states, responses))
    )
    return q, (rng.random((states, responses, rollouts)) < q[:, :, None]).astype(float)


def test_means_and_errors_leave_failures_out() -> None:
    returns = np.array([[1.0, 0.0, math.nan, 1.0], [0.25, *[math.nan] * 3], [math.nan] * 4])
    np.testing.assert_allclose(nan_mean(returns), [2 / 3, 0.25, math.nan])
    error = stats.sem([1.0, 0.0, 1.0])
    np.testing.assert_allclose(nan_standard_error(returns), [error, math.nan, math.nan])


# Predictions of single outcomes.


@given(st.lists(st.tuples(levels, bits), min_size=1, max_size=40), st.integers(1, 6))
def test_calibration(pairs: list[tuple[float, float]], bins: int) -> None:
    predicted, outcomes = np.array(pairs).T
    found = measure.calibration(predicted, outcomes, bins)
    assert len(found.counts) <= bins
    assert found.counts.sum() == len(pairs) and (found.counts > 0).all()
    assert (np.diff(found.predicted) > 0).all()
    assert (found.low <= found.observed).all() and (found.observed <= found.high).all()
    # Bins hold all of a prediction's outcomes and are in order, so they can be found again.
    order = sorted(range(len(pairs)), key=lambda i: predicted[i])
    start, error = 0, 0.0
    for b, count in enumerate(found.counts):
        members = order[start : start + count]
        start += count
        assert {predicted[i] for i in members}.isdisjoint(predicted[i] for i in order[start:])
        assert found.predicted[b] == pytest.approx(np.mean(predicted[members]))
        assert found.observed[b] == pytest.approx(np.mean(outcomes[members]))
        error += count * abs(np.mean(predicted[members]) - np.mean(outcomes[members]))
    assert found.expected_error == pytest.approx(error / len(pairs))


def test_calibration_tells_chance_from_error() -> None:
    rng = np.random.default_rng(0)
    p = rng.random((400, 500))
    outcomes = (rng.random(p.shape) < p).astype(float)
    found = [measure.calibration(*pair) for pair in zip(p, outcomes, strict=True)]
    errors = np.mean([one.expected_error for one in found])
    assert errors == pytest.approx(np.mean([one.expected_noise for one in found]), rel=0.1)
    assert (np.array([one.counts for one in found]) == 50).all()
    inside = np.mean([(one.low < one.predicted) & (one.predicted < one.high) for one in found])
    assert inside > 0.93
    wrong = measure.calibration(p**2, outcomes)
    assert wrong.expected_error > 5 * wrong.expected_noise


def test_wilson_intervals() -> None:
    low, high = wilson_bounds(np.array([0.0, 0.3, 1.0]), [10, 50, 10], z=1.959963984540054)
    for k, n, lower, upper in zip((0, 15, 10), (10, 50, 10), low, high, strict=True):
        known = stats.binomtest(k, n).proportion_ci(method="wilson")
        assert (lower, upper) == pytest.approx((known.low, known.high), abs=1e-12)


@given(st.lists(st.tuples(levels, bits), min_size=1, max_size=30))
def test_auc(pairs: list[tuple[float, float]]) -> None:
    scores, outcomes = np.array(pairs).T
    wins = [
        1.0 if a > b else 0.5 if a == b else 0.0
        for a, b in itertools.product(scores[outcomes == 1], scores[outcomes == 0])
    ]
    found = measure.auc(scores, outcomes)
    assert found == pytest.approx(np.mean(wins)) if wins else math.isnan(found)


@given(st.lists(st.tuples(st.floats(0.01, 0.99), st.floats(0, 1)), min_size=1, max_size=30))
def test_loss_beside_that_of_the_constant(pairs: list[tuple[float, float]]) -> None:
    predicted, outcomes = np.array(pairs).T
    naive = [-y * math.log(p) - (1 - y) * math.log(1 - p) for p, y in pairs]
    assert measure.log_loss(predicted, outcomes) == pytest.approx(np.mean(naive))
    rate = float(outcomes.mean())
    if 0.001 < rate < 0.999:
        entropy = -rate * math.log(rate) - (1 - rate) * math.log(1 - rate)
        assert measure.constant_loss(outcomes) == pytest.approx(entropy)
    constants = [measure.log_loss(np.full(len(pairs), c), outcomes) for c in (0.1, 0.4, 0.9)]
    assert measure.constant_loss(outcomes) <= min(constants) + 1e-9


def test_predictions_outside_of_probabilities_have_a_finite_loss() -> None:
    assert 10 < measure.log_loss([1.3, -0.2], [0.0, 1.0]) < 20


# Spread.


def test_spread_finds_the_standard_deviations_behind_the_noise() -> None:
    _, returns = simulate(4000, 6, 8)
    found = measure.spread(returns)
    assert found.across == pytest.approx(0.15, abs=0.005)
    assert found.within == pytest.approx(0.1, abs=0.005)
    assert found.noise == pytest.approx(math.sqrt((0.25 - 0.15**2 - 0.1**2) / 8), rel=0.02)
    # Uncorrected, the noise would have passed for differences between responses.
    assert nan_mean(returns).std(axis=1, ddof=1).mean() > 0.17
    alike = measure.spread(simulate(4000, 6, 8, within=0.0)[1])
    assert alike.within < 0.02 and alike.across == pytest.approx(0.15, abs=0.005)


def test_spread_by_the_definition() -> None:
    rng = np.random.default_rng(0)
    returns = rng.random((5, 3, 4))
    q = [[np.mean(cell) for cell in row] for row in returns]
    noise = np.mean([stats.sem(cell) ** 2 for row in returns for cell in row])
    scatter = np.mean([np.var(row, ddof=1) for row in q])
    found = measure.spread(returns)
    assert found.noise == pytest.approx(noise**0.5)
    assert found.within == pytest.approx(max(0.0, scatter - noise) ** 0.5)
    across = np.var([np.mean(row) for row in q], ddof=1) - scatter / 3
    assert found.across == pytest.approx(max(0.0, across) ** 0.5)


def test_r2_of_q_beside_that_of_v_alone() -> None:
    q, returns = simulate(3000, 6, 8)
    whole = 0.15**2 + 0.1**2
    assert measure.explained(q, returns) == pytest.approx(1.0, abs=0.02)
    assert measure.explained(np.full(q.shape, q.mean()), returns) == pytest.approx(0.0, abs=0.02)
    v = 0.5 + 0.15 * np.sign(q.mean(1, keepdims=True) - 0.5)
    assert measure.explained(v, returns) == pytest.approx(0.15**2 / whole, abs=0.03)
    assert measure.explained(1 - q, returns) < -2.5
    assert math.isnan(measure.explained(q, np.ones((*q.shape, 2))))


# Within states.

KINDS: tuple[Kind, ...] = ("pearson", "spearman", "kendall")


def naive_correlation(kind: Kind, a: Array, b: Array) -> float:
    if kind == "pearson":
        return float(stats.pearsonr(a, b).statistic)
    if kind == "spearman":
        return float(stats.spearmanr(a, b).statistic)
    return float(stats.kendalltau(a, b).statistic)


@pytest.mark.parametrize("kind", KINDS)
@given(x=tables(levels, 3, 4), y=tables(levels, 3, 4))
def test_row_correlations(kind: Kind, x: Array, y: Array) -> None:
    found = measure.row_correlations(x, y, kind)
    for a, b, one in zip(x, y, found, strict=True):
        if len(set(a)) == 1 or len(set(b)) == 1:
            assert math.isnan(one)
        else:
            assert one == pytest.approx(naive_correlation(kind, a, b), abs=1e-9)


@pytest.mark.parametrize("kind", KINDS)
def test_within_state_correlation_is_freed_of_sampling_error(kind: Kind) -> None:
    rng = np.random.default_rng(1)
    q = rng.uniform(0.3, 0.7, (500, 1)) + rng.uniform(-0.25, 0.25, (500, 6))
    returns = (rng.random((500, 6, 12)) < q[:, :, None]).astype(float)
    perfect = measure.within_state_correlation(q, returns, kind)
    assert perfect.observed < 0.85
    assert perfect.corrected == pytest.approx(1.0, abs=0.03 if kind == "pearson" else 0.12)
    assert perfect.states == 500
    # What a second set of rollouts would show of the first.
    again = nan_mean((rng.random((500, 6, 12)) < q[:, :, None]).astype(float))
    second = measure.within_state_correlation(again, returns, kind)
    assert second.observed == pytest.approx(perfect.reliability, abs=0.06)
    # An estimate with an error of its own stays below 1, and one of the state alone shows nothing.
    blurred = measure.within_state_correlation(q + rng.normal(0, 0.25, q.shape), returns, kind)
    assert 0.25 < blurred.corrected < 0.7
    blind = measure.within_state_correlation(rng.random(q.shape), returns, kind)
    assert abs(blind.corrected) < 0.1
    reversed_ = measure.within_state_correlation(-q, returns, kind)
    assert reversed_.observed == pytest.approx(-perfect.observed)


def test_a_correlation_of_pooled_states_weighs_them_by_what_there_is_to_tell() -> None:
    predicted = np.array([[0.0, 1.0, 2.0], [0.0, 1.0, 0.0]])
    q = np.array([[0.1, 0.5, 0.9], [0.2, 0.1, 0.0]])
    found = measure.within_state_correlation(predicted, np.repeat(q[:, :, None], 2, 2), "pearson")
    x, y = predicted - predicted.mean(1, keepdims=True), q - q.mean(1, keepdims=True)
    assert found.observed == pytest.approx(np.corrcoef(x.ravel(), y.ravel())[0, 1])
    assert found.reliability == 1.0


def test_states_where_nothing_varies_have_no_correlation() -> None:
    returns = np.zeros((2, 3, 4))
    for kind in KINDS:
        found = measure.within_state_correlation(np.eye(3)[:2], returns, kind)
        assert found.states == 0
        assert math.isnan(found.observed) and math.isnan(found.corrected)
    single = measure.within_state_correlation(np.eye(3), np.eye(3)[:, :, None], "spearman")
    assert single.observed == pytest.approx(1.0) and math.isnan(single.corrected)


def test_length_correlation() -> None:
    lengths = np.array([[3, 5, 9], [2, 4, 4], [1, 1, 1]])
    scores = np.array([[0.1, 0.2, 0.3], [0.3, 0.2, 0.1], [0.1, 0.2, 0.9]])
    known = (1.0 + stats.spearmanr(lengths[1], scores[1]).statistic) / 2
    assert measure.length_correlation(scores, lengths) == pytest.approx(known)


signed = st.sampled_from([-0.5, -0.1, 0.0, 0.2, 0.4])


@given(tables(signed, 3, 2), tables(signed, 3, 2))
def test_sign_agreement(a: Array, b: Array) -> None:
    def agrees(x: float, y: float) -> float:
        return 0.5 if x * y == 0 else float(x * y > 0)

    pairs = list(zip(a.ravel(), b.ravel(), strict=True))
    assert measure.sign_agreement(a, b) == pytest.approx(np.mean([agrees(*pair) for pair in pairs]))
    total = np.abs(b).sum()
    weighted = measure.sign_agreement(a, b, weighted=True)
    if total == 0:
        assert math.isnan(weighted)
    else:
        naive = sum(abs(y) * agrees(x, y) for x, y in pairs) / total
        assert weighted == pytest.approx(naive)


@given(tables(levels, 4, 3), tables(levels, 4, 3))
def test_best_of_n(predicted: Array, q: Array) -> None:
    gains = []
    for scores, values in zip(predicted, q, strict=True):
        best = [value for score, value in zip(scores, values, strict=True) if score == max(scores)]
        gains.append(np.mean(best) - np.mean(values))
    found = measure.best_of_n(predicted, np.repeat(q[:, :, None], 2, axis=2))
    assert found.gain == pytest.approx(np.mean(gains), abs=1e-12)
    assert found.se == pytest.approx(stats.sem(gains), abs=1e-12)
    # Without noise the headroom is that of the best response.
    assert found.headroom == pytest.approx((q.max(1) - q.mean(1)).mean(), abs=1e-12)
    assert found.gain <= found.headroom + 1e-12


def test_best_of_n_is_not_deceived_by_noise() -> None:
    q, returns = simulate(3000, 4, 8, within=0.1)
    perfect = measure.best_of_n(q, returns)
    # One of four has the higher value but in one case of 16.
    assert perfect.gain == pytest.approx(0.1 * (1 - 2 / 16), abs=4 * perfect.se)
    assert 0.03 < perfect.headroom < perfect.gain
    alike = measure.best_of_n(
        np.random.default_rng(9).random(q.shape), simulate(3000, 4, 8, within=0.0)[1]
    )
    assert abs(alike.gain) < 4 * alike.se
    assert abs(alike.headroom) < 0.01


# The error of Q.


def test_q_error() -> None:
    q, returns = simulate(200, 5, 16)
    perfect = measure.q_error(q, returns)
    assert perfect.rmse == pytest.approx(perfect.noise_rmse, rel=0.05)
    assert perfect.p95 == pytest.approx(perfect.noise_p95, rel=0.1)
    assert perfect.max == pytest.approx(perfect.noise_max, rel=0.2)
    assert perfect.corrected_rmse < 0.04
    off = measure.q_error(q + 0.3, returns)
    assert off.corrected_rmse == pytest.approx(0.3, abs=0.02)
    naive = sorted(abs(a - b) for a, b in zip((q + 0.3).flat, returns.mean(-1).flat, strict=True))
    assert off.max == pytest.approx(naive[-1])
    assert naive[948] <= off.p95 <= naive[951]
    # Who never sold in 16 rollouts may sell all the same.
    never = measure.q_error(np.zeros((3, 3)), np.zeros((3, 3, 16)))
    assert never.rmse == 0 and 0.02 < never.noise_rmse < 0.06


# Does Q read the response?


def test_action_shuffle() -> None:
    rng = np.random.default_rng(0)
    state, action = rng.random(400), rng.random(400)
    outcomes = state + action

    def loss_of(weight: float) -> measure.Shuffle:
        def loss(permutation: NDArray[np.int64]) -> float:
            q = state + weight * action[permutation] + (1 - weight) * action.mean()
            return float(np.mean((q - outcomes) ** 2))

        return measure.action_shuffle(loss, 400, repeats=8)

    reads, blind = loss_of(1.0), loss_of(0.0)
    assert reads.loss == pytest.approx(0.0)
    assert reads.rise == pytest.approx(2 * action.var(), abs=4 * reads.se)
    assert blind.rise == 0.0 and blind.loss > 0


def test_responses_are_shuffled_within_groups() -> None:
    groups = [0, 0, 0, 1, 1, 2, 0, 1]
    seen: list[list[int]] = []

    def loss(permutation: NDArray[np.int64]) -> float:
        seen.append(permutation.tolist())
        return 0.0

    found = measure.action_shuffle(loss, 8, groups=groups, repeats=20)
    assert list(range(8)) in seen and len({tuple(one) for one in seen}) > 5
    for permutation in seen:
        assert sorted(permutation) == list(range(8))
        assert [groups[i] for i in permutation] == groups
    assert math.isnan(measure.action_shuffle(loss, 8, repeats=1).se) and found.se == 0.0


# The report.


def test_report() -> None:
    q, returns = simulate(60, 4, 10)
    rng = np.random.default_rng(0)
    q_hat = q + rng.normal(0, 0.05, q.shape)
    v_returns = (rng.random((60, 10)) < q.mean(1, keepdims=True)).astype(float)
    returns[0, 0, :9] = math.nan  # one rollout is too few: the state is left out
    returns[1, 0, 0] = math.nan  # nine are enough
    lengths = rng.integers(1, 9, q.shape)
    shuffle = measure.action_shuffle(lambda permutation: float(permutation[0]), 10)
    report = q_report(
        q_hat, returns, v_hat=q.mean(1), v_returns=v_returns, lengths=lengths, shuffle=shuffle
    )
    assert (report.states, report.responses, report.rollouts) == (59, 4, 10)
    assert report.calibration.counts.sum() == 59 * 4 * 10 - 1
    kept = slice(1, None)
    assert report.loss < report.constant_loss and report.auc > 0.6
    assert report.error == measure.q_error(q_hat[kept], returns[kept])
    assert report.best_of_n == measure.best_of_n(q_hat[kept], returns[kept])
    assert report.kendall == measure.within_state_correlation(q_hat[kept], returns[kept], "kendall")
    assert report.fitted_spread.noise == 0
    scatter = q_hat[kept].var(axis=1, ddof=1).mean()
    assert report.fitted_spread.within == pytest.approx(scatter**0.5)
    assert report.v_r2 < report.q_r2
    fitted = q_hat - q.mean(1, keepdims=True)
    true = nan_mean(returns) - v_returns.mean(1, keepdims=True)
    assert report.sign_agreement == measure.sign_agreement(fitted[kept], true[kept])
    assert report.length_correlation == measure.length_correlation(q_hat[kept], lengths[kept])

    stored = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    assert stored["spearman"]["observed"] == report.spearman.observed
    assert stored["calibration"]["counts"] == report.calibration.counts.tolist()
    text = str(report)
    assert "59 states x 4 responses x 10 rollouts" in text
    assert f"{report.pearson.corrected:.3f}" in text and "shuffling" in text and "length" in text


def test_a_report_without_the_rest() -> None:
    q, returns = simulate(20, 3, 4)
    report = q_report(q, returns)
    assert report.shuffle is None and math.isnan(report.length_correlation)
    assert report.to_dict()["length_correlation"] is None
    assert "shuffling" not in str(report) and "length" not in str(report)
    # V is the mean over the responses, fitted and true.
    agreement = measure.sign_agreement(
        q - q.mean(1, keepdims=True),
        returns.mean(-1) - returns.mean((1, 2))[:, None],
    )
    assert report.sign_agreement == pytest.approx(agreement)


@pytest.mark.parametrize(
    ("q_shape", "returns_shape", "options", "message"),
    [
        ((3, 4), (3, 5, 6), {}, "expected q_hat"),
        ((3, 4), (3, 4), {}, "expected q_hat"),
        ((3, 4), (3, 4, 6), {"v_hat": np.ones(4)}, "expected v_hat"),
        ((3, 4), (3, 4, 6), {"lengths": np.ones((4, 3))}, "expected lengths"),
        ((3, 4), (3, 4, 1), {}, "2 rollouts each"),
        ((1, 4), (1, 4, 6), {}, "at least 2 states"),
        ((3, 4), (3, 4, 6), {"v_hat": np.full(3, np.nan)}, "finite"),
    ],
)
def test_mistakes(
    q_shape: Sequence[int], returns_shape: Sequence[int], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConvgymError, match=message):
        q_report(np.full(q_shape, 0.5), np.zeros(returns_shape), **options)
