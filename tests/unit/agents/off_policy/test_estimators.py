"""Off-policy estimates: against loops, closed forms and an exactly known chain."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import fields, replace
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from convgym.agents.off_policy import estimators as e
from convgym.agents.off_policy.evidence import Evidence

Array = NDArray[np.float64]


def some(seed: int, n: int = 7, horizon: int = 4) -> Evidence:
    """Return evidence of random numbers, conversations of one turn to ``horizon``."""
    random = np.random.default_rng(seed)
    lengths = random.integers(1, horizon + 1, size=n)
    lengths[0] = horizon
    present = (np.arange(horizon) < lengths[:, None]).astype(float)
    arrays = {each.name: random.normal(size=(n, horizon)) * present for each in fields(Evidence)}
    rewards = np.zeros((n, horizon))
    rewards[np.arange(n), lengths - 1] = random.integers(2, size=n)
    arrays |= {"present": present, "rewards": rewards}
    arrays["deployed_log_ratios"] = 0 * present
    return Evidence(**arrays)


def loop_doubly_robust(found: Evidence, weights: Array) -> float:
    """Thomas & Brunskill's sum, conversation by conversation, with weights (N, H) of turns."""
    n, horizon = weights.shape
    total = 0.0
    for i in range(n):
        before = 1 / n
        for t in range(horizon):
            total += weights[i, t] * (found.rewards[i, t] - found.q[i, t])
            total += before * found.new_values[i, t]
            before = weights[i, t]
    return total


@pytest.mark.parametrize("seed", range(3))
def test_estimates_are_those_of_loops(seed: int) -> None:
    found = some(seed)
    n, horizon = found.present.shape
    products = np.array(
        [
            [math.prod(math.exp(x) for x in row[: t + 1]) for t in range(horizon)]
            for row in found.log_ratios
        ]
    )
    returns = [sum(row) for row in found.rewards]
    whole = [row[-1] for row in products]
    per_turn = products / n
    shares = products / products.sum(0)
    arguments = (found.log_ratios, found.rewards)
    expected = {
        e.importance_sampling: sum(w * r for w, r in zip(whole, returns, strict=True)) / n,
        e.weighted_importance_sampling: sum(w * r for w, r in zip(whole, returns, strict=True))
        / sum(whole),
        e.per_decision: sum(
            per_turn[i, t] * found.rewards[i, t] for i, t in product(range(n), range(horizon))
        ),
        e.weighted_per_decision: sum(
            shares[i, t] * found.rewards[i, t] for i, t in product(range(n), range(horizon))
        ),
    }
    for estimator, value in expected.items():
        assert estimator(*arguments) == pytest.approx(value)
    known = (*arguments, found.q, found.new_values)
    assert e.doubly_robust(*known) == pytest.approx(loop_doubly_robust(found, per_turn))
    assert e.weighted_doubly_robust(*known) == pytest.approx(loop_doubly_robust(found, shares))


def test_first_order_estimates_are_those_of_loops() -> None:
    found = some(5)
    turns = [tuple(place) for place in np.argwhere(found.present)]
    gaps = {place: found.returns[place] - found.q[place] for place in turns}
    constant = sum(gaps.values()) / len(turns)
    gains = found.new_values - found.deployed_values
    change = {place: min(math.exp(found.log_ratios[place]), 2.0) - 1 for place in turns}
    corrections = sum(change[place] * (gaps[place] - constant) for place in turns)
    expected = (sum(gains[place] for place in turns) + corrections) / len(found)
    changes = e.ratio_changes(found, 2.0)
    assert e.first_order(changes, found.returns - found.q, found.present) == pytest.approx(
        corrections / len(found)
    )
    assert e.first_order_doubly_robust(
        changes, found.returns, found.q, gains, found.present
    ) == pytest.approx(expected)
    assert e.fitted_gain(found.new_values, found.deployed_values) == pytest.approx(
        sum(gains[place] for place in turns) / len(found)
    )
    assert e.opening_gain(found.new_values, found.deployed_values) == pytest.approx(
        gains[:, 0].mean()
    )
    assert e.coverage(found, 2.0) == pytest.approx(1 + sum(change.values()) / len(turns))


def two_turns(n: int, seed: int) -> tuple[Evidence, float, float]:
    """Sample n conversations of a chain that is solved by hand; also return v(pi), v(pi').

    Either turn's response is right or wrong, and two right ones sell. pi is right with 0.4, pi'
    with 0.6; the state is how many were right.
    """
    old, new = 0.4, 0.6
    random = np.random.default_rng(seed)
    right = random.random((n, 2)) < old
    sold = right.all(1)
    logs = np.where(right, math.log(new / old), math.log((1 - new) / (1 - old)))
    rewards: Array = np.stack([np.zeros(n), sold.astype(float)], 1)

    def q(policy: float) -> tuple[Array, Array]:
        """Return Q(s, a) of what was said, and V(s)."""
        alive = np.stack([np.ones(n), right[:, 0]], 1)
        said = np.stack([right[:, 0] * policy, sold], 1)
        return said, alive * np.array([policy**2, policy])

    (q_new, v_new), (q_old, v_old) = q(new), q(old)
    of_new = np.stack([np.full(n, new * old), right[:, 0] * new], 1)  # pi' once, then pi
    found = Evidence(
        present=np.ones((n, 2)),
        rewards=rewards,
        log_ratios=logs,
        deployed_log_ratios=np.zeros((n, 2)),
        values=v_old,
        returns=np.stack([sold, sold], 1).astype(float),
        q=q_new,
        new_values=v_new,
        deployed_values=v_old,
        evaluated_q=q_new,
        evaluated_values=v_new,
    )
    return replace(found, q=q_old, new_values=of_new), old**2, new**2


@pytest.mark.parametrize(
    "name",
    [
        "importance sampling",
        "weighted importance sampling",
        "per decision",
        "weighted per decision",
        "doubly robust",
        "weighted doubly robust",
        "doubly robust, evaluated Q",
        "weighted doubly robust, evaluated Q",
        "fitted Q evaluation",
    ],
)
def test_value_estimates_find_the_true_gain(name: str) -> None:
    found, old, new = two_turns(40_000, seed=0)
    assert e.GAINS[name](found) == pytest.approx(new - old, abs=0.01)


@pytest.mark.parametrize(
    "name", ["first order", "first order, fitted Q", "first order, doubly robust"]
)
def test_first_order_estimates_find_the_first_order_term(name: str) -> None:
    """Sum over turns, at states of pi, of pi's own advantages of what pi' says."""
    found, old, new = two_turns(40_000, seed=1)
    right = math.sqrt(old)
    term = (math.sqrt(new) * right - old) + right * (math.sqrt(new) - right)
    assert term < new - old  # what is missing is of second order
    assert e.GAINS[name](found) == pytest.approx(term, abs=0.01)


def test_doubly_robust_is_exact_with_the_new_policys_own_q() -> None:
    """Whatever the ratios, where outcomes are certain given what was said."""
    found, _, new = two_turns(200, seed=2)
    random = np.random.default_rng(0)
    ratios = random.normal(size=(200, 2))
    alive = np.stack([np.ones(200), found.q[:, 0] > 0], 1)
    q = np.stack([(found.q[:, 0] > 0) * math.sqrt(new), found.rewards[:, 1]], 1)
    values = alive * np.array([new, math.sqrt(new)])
    for estimator in (e.doubly_robust, e.weighted_doubly_robust):
        assert estimator(ratios, found.rewards, q, values) == pytest.approx(new)


@given(st.integers(0, 1000))
def test_with_a_reward_at_the_end_alone_decisions_are_conversations(seed: int) -> None:
    found = some(seed)
    arguments = (found.log_ratios, found.rewards)
    assert e.per_decision(*arguments) == pytest.approx(e.importance_sampling(*arguments))


@given(st.integers(0, 1000), st.floats(-800, 800))
def test_weighted_estimates_stay_among_the_returns(seed: int, shift: float) -> None:
    """However far the policy went: no weight overflows, and no unit of them matters."""
    found = some(seed)
    far = found.log_ratios + shift * found.present
    assert 0 <= e.weighted_importance_sampling(far, found.rewards) <= 1 + 1e-12
    assert 1 - 1e-9 <= e.effective_sample_size(far.sum(1)) <= len(found) + 1e-9


@given(st.integers(0, 1000))
def test_the_deployed_policy_itself_gains_nothing(seed: int) -> None:
    found = some(seed)
    same = replace(
        found,
        log_ratios=found.deployed_log_ratios,
        deployed_values=found.new_values,
        q=0 * found.q,
        new_values=found.new_values,
        evaluated_q=0 * found.q,
    )
    on_q = (
        *("doubly robust", "weighted doubly robust", "doubly robust, evaluated Q"),
        *("weighted doubly robust, evaluated Q", "fitted Q evaluation"),
    )
    for name, gain in e.GAINS.items():
        if name not in on_q:
            assert gain(same) == pytest.approx(0, abs=1e-12), name
    # These do not stand on the log's mean, but on Q: nothing is gained if Q is V everywhere.
    flat = replace(same, new_values=0 * found.q, evaluated_values=0 * found.q)
    for name in on_q[:-1]:
        assert e.GAINS[name](flat) == pytest.approx(0, abs=1e-12), name


@pytest.mark.parametrize(
    ("weights", "expected"),
    [([1, 1, 1], 3), ([1, 0.5, 0], 1.8), ([1e300, 1e300], 2), ([], 0)],
)
def test_the_effective_sample_size(weights: list[float], expected: float) -> None:
    with np.errstate(divide="ignore"):
        logs = np.log(np.array(weights, float))
    assert e.effective_sample_size(logs) == pytest.approx(expected)


def test_the_bootstrap_knows_the_error_of_a_mean() -> None:
    random = np.random.default_rng(0)
    found = some(0, n=400)
    sold = random.random(400) < 0.3
    found = replace(found, rewards=np.pad(sold[:, None].astype(float), ((0, 0), (0, 3))))

    def mean(found: Evidence) -> float:
        return float(found.rewards.sum(1).mean())

    result = e.bootstrap(mean, found, draws=1000)
    error = math.sqrt(0.3 * 0.7 / 400)
    assert result.standard_error == pytest.approx(error, rel=0.1)
    assert result.interval.value == pytest.approx(sold.mean())
    assert result.interval.high - result.interval.low == pytest.approx(2 * 1.96 * error, rel=0.1)
    assert e.bootstrap(mean, found, draws=50) == e.bootstrap(mean, found, draws=50)


@pytest.mark.parametrize("n", [0, 1])
def test_of_one_conversation_no_error_is_known(n: int) -> None:
    found = some(0).take(slice(n))
    gain: Callable[[Evidence], float] = e.GAINS["first order"]
    assert e.bootstrap(gain, found).standard_error == math.inf
