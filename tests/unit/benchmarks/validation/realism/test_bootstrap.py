"""Intervals by cluster: against closed forms, naive loops, and where nothing varies."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from convgym.benchmarks.validation.realism.bootstrap import (
    bootstrap,
    mean_of,
    ratio,
    share_of,
    within,
)
from convgym.statistics import Array, Estimate, ratio_interval, t_interval, wilson_interval

RNG = np.random.default_rng(0)

counts = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=1, max_size=12)


@given(counts, st.lists(st.integers(0, 3), min_size=12, max_size=12))
def test_a_ratio_is_that_of_the_clusters_as_often_as_they_were_drawn(
    pairs: list[tuple[int, int]], weights: list[int]
) -> None:
    weights = weights[: len(pairs)]
    drawn = [pair for pair, times in zip(pairs, weights, strict=True) for _ in range(times)]
    below = sum(b for _, b in drawn)
    (value,) = ratio(*zip(*pairs, strict=True))(np.array([weights], float))
    if below:
        assert value == pytest.approx(sum(a for a, _ in drawn) / below)
    else:
        assert math.isnan(value)


def test_the_interval_of_a_mean_is_nearly_students() -> None:
    values = RNG.normal(size=30).tolist()
    bootstrapped, students = mean_of(values, [1.0] * 30), t_interval(values)
    assert bootstrapped.value == pytest.approx(students.value)
    width = (bootstrapped.high - bootstrapped.low) / (students.high - students.low)
    assert width == pytest.approx(1, abs=0.1)


def test_the_interval_of_a_share_is_nearly_that_of_a_ratio_of_clusters() -> None:
    wholes = RNG.integers(1, 9, size=60).tolist()
    parts = RNG.binomial(wholes, 0.3).tolist()
    ours, closed = share_of(parts, wholes), ratio_interval(parts, wholes)
    assert ours.value == closed.value
    assert ours.low == pytest.approx(closed.low, abs=0.02)
    assert ours.high == pytest.approx(closed.high, abs=0.02)


def test_intervals_of_few_clusters_cover_the_truth() -> None:
    covered = 0
    for _ in range(200):
        wholes = RNG.integers(1, 6, size=15).astype(float)
        parts = RNG.poisson(wholes).astype(float)
        estimate = mean_of(parts.tolist(), wholes.tolist())
        covered += estimate.low <= 1 <= estimate.high
    assert covered >= 180  # 95% of 200, less three standard errors


def test_equal_data_have_equal_intervals() -> None:
    values = RNG.normal(size=20).tolist()
    assert mean_of(values, [1.0] * 20) == mean_of(values, [1.0] * 20)


def test_what_a_resample_lacks_for_being_one_is_not_held_against_the_sample() -> None:
    def kinds(weights: Array) -> Array:
        return np.asarray((weights > 0).sum(1), float)

    estimate = bootstrap(kinds, 40)
    assert estimate.value == 40 and estimate.low < 40 < estimate.high


@pytest.mark.parametrize("share", [0, 1])
def test_none_and_all_of_the_clusters_have_wilsons_interval(share: int) -> None:
    assert share_of([5 * share] * 20, [5] * 20) == wilson_interval(20 * share, 20)


def test_few_clusters_have_the_interval_of_a_share_of_clusters() -> None:
    estimate = share_of([1] * 6, [2] * 6)  # one of two replies in each: alike by chance
    assert estimate.value == 0.5 and estimate.low < 0.25 and estimate.high > 0.75


def test_what_never_varied_may_still_vary() -> None:
    estimate = mean_of([0.0] * 20, [1.0] * 20, span=4.0)
    most = 4 * wilson_interval(0, 20).high
    assert (estimate.low, estimate.high) == (-most, most)


def test_nothing_and_one_cluster_say_nothing_of_others() -> None:
    assert math.isnan(bootstrap(lambda weights: weights.sum(1), 0).value)
    alone = mean_of([3.0], [1.0])
    assert (alone.value, alone.low, alone.high) == (3.0, -math.inf, math.inf)
    assert share_of([0, 0], [0, 0]).low == 0.0
    assert math.isnan(mean_of([0, 0], [0, 0]).value)
    assert within(Estimate(0.5, -1, 2)) == Estimate(0.5, 0, 1)
