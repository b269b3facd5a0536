"""Paired comparisons against closed forms, properties and simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from scipy import stats

from convgym.benchmarks.studies.comparison_coverage import coverage
from convgym.comparisons import compare, holm
from convgym.errors import ConvgymError

Table = NDArray[np.float64]

CUSTOMERS = 12
tables = st.integers(1, 4).flatmap(
    lambda seeds: arrays(np.float64, (seeds, CUSTOMERS), elements=st.sampled_from([0.0, 1.0]))
)


def test_two_fixed_sellers_are_compared_by_the_adjusted_wald_interval() -> None:
    # Of 100 customers 60 bought of both, 20 of the first alone, 8 of the second alone.
    a = np.repeat([1.0, 1.0, 0.0, 0.0], [60, 20, 8, 12])[None]
    b = np.repeat([1.0, 0.0, 1.0, 0.0], [60, 20, 8, 12])[None]
    found = compare(a, b)
    variance = (28 - 100 * 0.12**2 + 2) / (100 * 99)
    half = stats.t.ppf(0.975, 99) * math.sqrt(variance)
    assert found.difference.value == pytest.approx(0.12)
    assert found.difference.low == pytest.approx(0.12 - half)
    assert found.difference.high == pytest.approx(0.12 + half)
    assert found.p_value == pytest.approx(2 * stats.t.sf(0.12 / math.sqrt(variance), 99))
    assert (found.customers, found.seeds) == (100, (1, 1))
    assert found.degrees == pytest.approx(99)


def test_seeds_that_differ_much_are_compared_by_welchs_t_test() -> None:
    """Where the customers' part is nothing beside the seeds', it is the test over seeds alone."""
    customers = 20_000
    a, b = (
        np.array([np.arange(customers) < share * customers for share in shares], float)
        for shares in ((0.1, 0.9, 0.3, 0.7), (0.2, 0.25, 0.3))
    )
    found = compare(a, b)
    expected = stats.ttest_ind(a.mean(1), b.mean(1), equal_var=False)
    interval = expected.confidence_interval()
    assert found.p_value == pytest.approx(expected.pvalue, rel=0.01)
    assert found.degrees == pytest.approx(expected.df, rel=0.01)
    ends = (found.difference.low, found.difference.high)
    assert ends == pytest.approx((interval.low, interval.high), rel=0.01)


@given(tables, tables)
def test_a_comparison_is_antisymmetric_ordered_and_within_bounds(a: Table, b: Table) -> None:
    found, mirrored = compare(a, b), compare(b, a)
    assert found.difference.value == -mirrored.difference.value
    ends = (found.difference.low, found.difference.high)
    assert ends == pytest.approx((-mirrored.difference.high, -mirrored.difference.low))
    assert found.p_value == pytest.approx(mirrored.p_value)
    assert -1 <= found.difference.low <= found.difference.value <= found.difference.high <= 1
    assert 0 <= found.p_value <= 1 and found.seeds == mirrored.seeds[::-1]


@given(tables)
def test_nobody_differs_from_himself(a: Table) -> None:
    found = compare(a, a)
    assert found.difference.value == 0 and found.p_value == pytest.approx(1)
    assert found.difference.low < 0 < found.difference.high


@given(tables, tables)
def test_it_is_significant_where_zero_lies_outside(a: Table, b: Table) -> None:
    found = compare(a, b)
    outside = not found.difference.low <= 0 <= found.difference.high
    if abs(found.p_value - 0.05) > 1e-9:
        assert outside == (found.p_value < 0.05)


@given(tables, tables, st.permutations(range(CUSTOMERS)))
def test_the_order_of_customers_and_seeds_is_nothing(a: Table, b: Table, order: list[int]) -> None:
    found, shuffled = compare(a, b), compare(a[::-1, order], b[:, order])
    assert shuffled.difference.low == pytest.approx(found.difference.low)
    assert shuffled.p_value == pytest.approx(found.p_value)


def test_customers_who_failed_anywhere_are_left_out() -> None:
    a = np.array([[1.0, 0, 1, np.nan], [1, 1, 1, 0]])
    b = np.array([[np.nan, 0.0, 0, 1]])
    assert compare(a, b) == compare(a[:, 1:3], b[:, 1:3])


@pytest.mark.parametrize("customers", [0, 1])
def test_hardly_anybody_says_nothing(customers: int) -> None:
    found = compare(np.ones((2, customers)), np.zeros((1, customers)))
    assert (found.difference.low, found.difference.high, found.p_value) == (-1, 1, 1)
    assert found.customers == customers


@pytest.mark.parametrize(
    ("a", "b", "told"),
    [
        (np.ones((1, 3)), np.ones((1, 4)), "the same customers, got 3 and 4"),
        (np.ones(3), np.ones((1, 3)), r"a table of training seeds by customers.*\(3,\)"),
        (np.ones((1, 3)), np.ones((0, 3)), r"shape \(0, 3\)"),
    ],
)
def test_tables_that_do_not_belong_together_are_refused(a: Table, b: Table, told: str) -> None:
    with pytest.raises(ConvgymError, match=told):
        compare(a, b)


def test_holm_reproduces_a_worked_example() -> None:
    # Sorted 0.005, 0.01, 0.03, 0.04: times 4, 3, 2, 1, and never falling.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([]).shape == (0,) and holm([0.9, 0.8]) == pytest.approx([1, 1])


@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_holm_lies_between_the_p_value_and_bonferroni(p_values: list[float]) -> None:
    p, adjusted = np.array(p_values), holm(p_values)
    assert (adjusted >= p).all()
    assert (adjusted <= np.minimum(1, len(p) * p) + 1e-12).all()
    assert (np.diff(adjusted[np.argsort(p, kind="stable")]) >= 0).all()


@pytest.mark.parametrize(("seeds", "spread"), [(3, 0.05), (5, 0.02), (5, 0.05)])
def test_it_covers_new_seeds_and_new_customers_and_is_narrow(seeds: int, spread: float) -> None:
    ways = coverage(seeds, spread, experiments=300)
    assert 0.93 <= ways["paired"]["covered"] <= 0.985
    assert ways["paired"]["half_width"] < 0.75 * ways["unpaired"]["half_width"]
    if spread == 0.05:  # the fewer the seeds, and the more they differ, the less it covers
        assert ways["resampled"]["covered"] < ways["paired"]["covered"]
