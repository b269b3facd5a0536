"""The interval estimates against SciPy, closed forms and simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from convgym.errors import ConvgymError
from convgym.statistics import (
    Estimate,
    difference,
    mean_over_seeds,
    newcombe_interval,
    paired_difference,
    ratio_interval,
    seeds_interval,
    t_interval,
    t_quantile,
    two_proportion_test,
    wilson_interval,
)

counts = st.integers(1, 5000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))
confidences = st.floats(0.5, 0.999)


@given(counts, confidences)
def test_wilson_agrees_with_scipy(count: tuple[int, int], confidence: float) -> None:
    successes, n = count
    expected = stats.binomtest(successes, n).proportion_ci(confidence, method="wilson")
    found = wilson_interval(successes, n, confidence)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=1e-9)


@given(counts, confidences)
def test_wilson_ends_solve_the_score_equation(count: tuple[int, int], confidence: float) -> None:
    successes, n = count
    z = stats.norm.ppf(0.5 + confidence / 2)
    found = wilson_interval(successes, n, confidence)
    for end in (found.low, found.high):
        # Wilson's definition: the proportions from which the observed one is z errors away.
        assert (found.value - end) ** 2 == pytest.approx(z * z * end * (1 - end) / n, abs=1e-9)


@given(counts)
def test_wilson_is_symmetric_ordered_and_within_bounds(count: tuple[int, int]) -> None:
    successes, n = count
    found, mirrored = wilson_interval(successes, n), wilson_interval(n - successes, n)
    assert 0 <= found.low <= found.value <= found.high <= 1
    assert (1 - mirrored.high, 1 - mirrored.low) == pytest.approx((found.low, found.high))


@given(counts)
def test_wilson_narrows_with_more_data_and_widens_with_confidence(count: tuple[int, int]) -> None:
    successes, n = count
    one, ten = wilson_interval(successes, n), wilson_interval(10 * successes, 10 * n)
    sure = wilson_interval(successes, n, 0.99)
    assert ten.high - ten.low < one.high - one.low < sure.high - sure.low


def test_wilson_without_data_excludes_nothing() -> None:
    found = wilson_interval(0, 0)
    assert math.isnan(found.value) and (found.low, found.high) == (0, 1)


@pytest.mark.parametrize(("successes", "n"), [(-1, 10), (11, 10), (1, 0)])
def test_impossible_counts_are_refused(successes: int, n: int) -> None:
    with pytest.raises(ConvgymError, match=f"successes={successes}, n={n}"):
        wilson_interval(successes, n)
    with pytest.raises(ConvgymError, match=f"{successes} of {n}"):
        two_proportion_test(successes, n, 1, 2)


@pytest.mark.parametrize("confidence", [0, 1, -0.5, 95])
def test_impossible_confidence_is_refused(confidence: float) -> None:
    with pytest.raises(ConvgymError, match="confidence"):
        wilson_interval(1, 2, confidence)


def test_newcombe_reproduces_the_published_example() -> None:
    # Newcombe (1998), table II, method 10, rows (a) and (e).
    found = newcombe_interval(56, 70, 48, 80)
    assert (found.value, found.low, found.high) == pytest.approx((0.2, 0.0524, 0.3339), abs=5e-5)
    found = newcombe_interval(5, 56, 0, 29)
    assert (found.value, found.low, found.high) == pytest.approx(
        (0.0893, -0.0381, 0.1926), abs=5e-5
    )


@given(counts, counts)
def test_newcombe_is_antisymmetric_and_within_bounds(
    a: tuple[int, int], b: tuple[int, int]
) -> None:
    found, mirrored = newcombe_interval(*a, *b), newcombe_interval(*b, *a)
    assert (found.low, found.high) == pytest.approx((-mirrored.high, -mirrored.low))
    assert -1 <= found.low <= found.value <= found.high <= 1


def test_difference_to_a_known_number_keeps_the_interval() -> None:
    found = difference(Estimate(0.5, 0.4, 0.7), Estimate(0.1, 0.1, 0.1))
    assert (found.value, found.low, found.high) == pytest.approx((0.4, 0.3, 0.6))


@given(counts, counts)
def test_two_proportion_test_is_pearsons_chi_squared(
    a: tuple[int, int], b: tuple[int, int]
) -> None:
    table = np.array([[a[0], a[1] - a[0]], [b[0], b[1] - b[0]]])
    if table.sum(axis=0).min() == 0:
        assert two_proportion_test(*a, *b) == 1.0
        return
    expected = stats.chi2_contingency(table, correction=False).pvalue
    assert two_proportion_test(*a, *b) == pytest.approx(expected, abs=1e-9)


@given(st.floats(0.001, 0.999), st.integers(1, 300))
def test_t_quantile_agrees_with_scipy(probability: float, degrees: int) -> None:
    expected = stats.t.ppf(probability, degrees)
    assert t_quantile(probability, degrees) == pytest.approx(expected, rel=1e-7, abs=1e-9)


@pytest.mark.parametrize(("probability", "degrees"), [(0, 3), (1, 3), (0.5, 0)])
def test_impossible_t_quantiles_are_refused(probability: float, degrees: int) -> None:
    with pytest.raises(ConvgymError, match="degrees"):
        t_quantile(probability, degrees)


@given(st.lists(st.floats(0, 1), min_size=2, max_size=20), confidences)
def test_t_interval_agrees_with_scipy(values: list[float], confidence: float) -> None:
    half = stats.t.ppf(0.5 + confidence / 2, len(values) - 1) * np.std(values, ddof=1)
    half /= math.sqrt(len(values))
    found = t_interval(values, confidence)
    assert found.value == pytest.approx(np.mean(values), abs=1e-12)
    assert (found.high - found.low) / 2 == pytest.approx(half, rel=1e-6, abs=1e-9)


def test_t_interval_of_one_value_is_refused() -> None:
    with pytest.raises(ConvgymError, match="at least 2"):
        t_interval([0.5])


@given(counts)
def test_one_training_seed_gives_the_wilson_interval(count: tuple[int, int]) -> None:
    assert seeds_interval([count[0]], [count[1]]) == wilson_interval(*count)


@given(st.lists(st.integers(0, 200), min_size=2, max_size=10))
def test_seeds_interval_is_at_least_as_wide_as_either_source(successes: list[int]) -> None:
    n = [200] * len(successes)
    found = seeds_interval(successes, n)
    over_seeds = t_interval([k / 200 for k in successes])
    mean = round(sum(successes) / len(successes))
    over_customers = wilson_interval(mean, 200)
    assert 0 <= found.low <= found.value <= found.high <= 1
    assert found.low <= max(0, over_seeds.low) + 1e-12
    assert found.high >= min(1, over_seeds.high) - 1e-12
    assert found.high - found.value >= min(
        1, over_customers.high
    ) - over_customers.value - 1e-12 or (found.high == 1)


@pytest.mark.parametrize(("successes", "n"), [([], []), ([1], [2, 3]), ([0, 1], [0, 5])])
def test_seeds_interval_needs_a_count_for_each_seed(successes: list[int], n: list[int]) -> None:
    with pytest.raises(ConvgymError, match="each seed"):
        seeds_interval(successes, n)


@pytest.mark.parametrize("seeds", [3, 5])
def test_seeds_interval_covers_new_seeds_and_new_customers(seeds: int) -> None:
    # Crossed random effects: each customer is as easy for every seed, each seed as good for every
    # customer. The interval must hold the grand mean in at least 95% of the worlds.
    generator, worlds, customers = np.random.default_rng(0), 400, 300
    covered = covered_by_t_alone = 0
    for _ in range(worlds):
        skill = generator.normal(0, 0.02, size=(seeds, 1))
        ease = generator.beta(0.5, 0.5, size=(1, customers)) * 0.8 + 0.1
        sold = generator.random((seeds, customers)) < np.clip(ease + skill, 0, 1)
        successes = [int(k) for k in sold.sum(axis=1)]
        found = seeds_interval(successes, [customers] * seeds)
        covered += found.low <= 0.5 <= found.high
        alone = t_interval([k / customers for k in successes])
        covered_by_t_alone += alone.low <= 0.5 <= alone.high
    assert covered / worlds >= 0.95
    assert covered_by_t_alone < covered  # which is why the customers' share is in there


def test_a_ratio_of_clusters_of_one_size_is_the_mean_of_their_shares() -> None:
    parts, size = [0, 1, 3, 4, 2, 2], 4
    shares = np.array(parts) / size
    half = stats.norm.ppf(0.975) * shares.std(ddof=1) / math.sqrt(len(parts))
    found = ratio_interval(parts, [size] * len(parts))
    assert found.value == pytest.approx(shares.mean())
    assert (found.low, found.high) == pytest.approx((found.value - half, found.value + half))


def test_a_ratio_interval_covers_also_where_clusters_differ() -> None:
    """Members of a cluster agree more than chance: as single draws they would cover 80% or so."""
    rng, covered = np.random.default_rng(0), 0
    for _ in range(400):
        wholes = rng.integers(0, 9, 150)
        parts = rng.binomial(wholes, rng.beta(1.4, 0.6, 150))
        found = ratio_interval(parts.tolist(), wholes.tolist())
        covered += found.low <= 0.7 <= found.high
    assert 0.92 <= covered / 400 <= 0.98


def test_a_ratio_of_little_says_little() -> None:
    nothing = ratio_interval([0, 0], [0, 0])
    assert math.isnan(nothing.value) and (nothing.low, nothing.high) == (0, 1)
    assert ratio_interval([1], [2]) == Estimate(0.5, 0, 1)


def test_a_mean_over_seeds_covers_seeds_and_customers() -> None:
    one, other = Estimate(0.6, 0.5, 0.65), Estimate(0.7, 0.6, 0.75)
    assert mean_over_seeds([one]) == one
    seeds = t_interval([0.6, 0.7])
    found = mean_over_seeds([one, other])
    assert found.value == pytest.approx(0.65)
    assert found.low == max(0, found.value - math.hypot(seeds.value - seeds.low, 0.1))
    same = mean_over_seeds([one, one])
    assert (same.low, same.high) == pytest.approx((one.low, one.high))
    with pytest.raises(ConvgymError, match="an estimate for each seed"):
        mean_over_seeds([])


def test_paired_difference_by_hand() -> None:
    a = [[1, 1, 0, 1], [1, 0, 0, 1]]
    b = [[0, 1, 0, 0], [1, 0, 0, 0]]
    seeds, customers = [0.5, 0.25], [0.5, 0.0, 0.0, 1.0]
    found = paired_difference(a, b)
    over_seeds = 12.7062 * float(np.std(seeds, ddof=1)) / 2**0.5
    over_customers = 1.95996 * float(np.std(customers, ddof=1)) / 4**0.5
    assert found.value == 0.375
    assert found.high - found.value == pytest.approx(math.hypot(over_seeds, over_customers), 1e-4)
    assert found.value - found.low == pytest.approx(found.high - found.value)


def test_paired_difference_of_one_seed_is_that_over_customers() -> None:
    a, b = np.array([[1, 1, 0, 1]]), np.array([[0, 1, 0, 0]])
    half = 1.95996 * float(np.std(a - b, ddof=1)) / 2
    found = paired_difference(a, b)
    assert found.value == 0.5
    assert found.high == pytest.approx(0.5 + half, 1e-4)


def test_what_is_hard_for_both_does_not_widen_a_paired_difference() -> None:
    alike = np.tile(np.random.default_rng(0).random(400) < 0.5, (5, 1))
    assert paired_difference(alike, alike) == Estimate(0.0, 0.0, 0.0)


@pytest.mark.parametrize(("a", "b"), [((2, 3), (2, 4)), ((3,), (3,)), ((2, 1), (2, 1))])
def test_paired_difference_needs_the_same_seeds_and_customers(
    a: tuple[int, ...], b: tuple[int, ...]
) -> None:
    with pytest.raises(ConvgymError, match="same S seeds and N > 1 customers"):
        paired_difference(np.zeros(a), np.zeros(b))
