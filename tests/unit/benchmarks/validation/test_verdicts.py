"""Verdicts are about intervals: known ones on either side of a limit, and across it."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from convgym.benchmarks.validation.verdicts import (
    Measure,
    advice,
    controlled,
    finding,
    gap,
    mean,
    never,
    rate,
    skipped,
    tell,
    value,
    worst,
)
from convgym.statistics import newcombe_interval, wilson_interval


@pytest.mark.parametrize(
    ("successes", "n", "status"),
    [(0, 200, "pass"), (0, 20, "warn"), (10, 200, "warn"), (40, 200, "fail"), (3, 3, "fail")],
)
def test_a_rate_is_judged_by_its_interval(successes: int, n: int, status: str) -> None:
    measure = rate("buy", successes, n, at_most=0.05)
    assert measure.status == status
    assert measure.estimate == wilson_interval(successes, n)


def test_a_floor_and_a_range() -> None:
    assert rate("leave", 95, 100, at_least=0.8).status == "pass"
    assert rate("leave", 50, 100, at_least=0.8).status == "fail"
    assert rate("buy", 500, 1000, at_least=0.4, at_most=0.6).status == "pass"
    assert rate("buy", 700, 1000, at_least=0.4, at_most=0.6).status == "fail"
    assert rate("buy", 600, 1000, at_least=0.4, at_most=0.6).status == "warn"


def test_what_is_needed_decides() -> None:
    measure = rate("buy", 0, 20, at_most=0.05)
    assert measure.needed is not None
    assert rate("buy", 0, measure.needed, at_most=0.05).status == "pass"
    assert rate("buy", 0, measure.needed // 2, at_most=0.05).status == "warn"
    assert advice(measure) == f"undecided: takes about {measure.needed - 20} more"


def test_at_the_limit_nothing_decides() -> None:
    measure = rate("buy", 10, 200, at_most=0.05)
    assert measure.needed is None and advice(measure) == "undecided: at the limit"


def test_nothing_seen_is_a_warning() -> None:
    for measure in (rate("x", 0, 0, at_most=0.5), gap("x", (0, 0), (1, 2), at_most=0.5)):
        assert measure.status == "warn"
        assert advice(measure) == "undecided: no conversation came to it"
        assert value(measure) == "not seen"
    assert never("x", 0, 0).status == "warn"


def test_a_gap_is_judged_by_its_interval() -> None:
    good, bad = (90, 100), (10, 100)
    measure = gap("sales", good, bad, at_least=0.2)
    assert measure.status == "pass"
    assert measure.estimate == newcombe_interval(90, 100, 10, 100)
    assert gap("sales", bad, good, at_least=0.2).status == "fail"
    assert gap("sales", (5, 10), (3, 10), at_least=0.2).status == "warn"
    assert gap("sales", (450, 500), (450, 500), at_least=-0.1, at_most=0.1).status == "pass"


def test_a_mean_is_judged_by_its_interval() -> None:
    assert mean("turns", [3.0, 4.0, 5.0, 4.0], at_least=1).status == "pass"
    assert mean("turns", [0.0, 0.1, 0.0, 0.1], at_least=1).status == "fail"
    undecided = mean("turns", [0.0, 4.0, 1.0, 3.0], at_least=1)
    assert undecided.status == "warn" and undecided.needed is not None
    assert mean("turns", [5.0], at_least=1).status == "warn"
    assert mean("turns", [], at_least=1).status == "warn"


def test_a_rule_without_exceptions_fails_at_the_first() -> None:
    assert never("differ", 1, 1000).status == "fail"
    assert never("differ", 0, 5).status == "pass"


@pytest.mark.parametrize(
    ("measure", "text"),
    [
        (rate("buy", 0, 100, at_most=0.05), "buy: 0.0% [0.0, 3.7] of 100, at most 5%"),
        (
            rate("buy", 1, 2, at_least=0.1, at_most=0.9),
            "buy: 50.0% [9.5, 90.5] of 2, from 10% to 90%, undecided: takes about 2 more",
        ),
        (never("differ", 0, 100), "differ: 0.0% [0.0, 3.7] of 100, never"),
        (
            mean("saved", [2.0, 2.0], at_least=1),
            "saved: 2.0 turns [2.0, 2.0] of 2, at least 1 turns",
        ),
    ],
)
def test_measures_in_words(measure: Measure, text: str) -> None:
    assert tell(measure) == text


def test_a_finding_is_as_bad_as_its_worst_measure_and_tells_it() -> None:
    good, bad = rate("good", 0, 500, at_most=0.05), rate("bad", 400, 500, at_most=0.05)
    found = finding("x", [good, bad], note="so it is")
    assert found.status == "fail" and found.summary == f"{tell(bad)} (so it is)"
    assert finding("x", [good]).status == "pass"
    assert finding("x", []).status == "warn"
    assert "and 2 more" in finding("x", [bad] * 4).summary


def test_refusals_count_beside_a_control_that_sells() -> None:
    refused, few = rate("sold", 0, 200, at_most=0.05), rate("sold", 0, 9, at_most=0.05)
    sells = rate("buy from the control", 80, 200, at_least=0.1)
    for measure, status in ((refused, "pass"), (few, "warn")):
        found = finding("x", [measure])
        assert controlled(found, sells) == replace(found, control=sells)
        for sold, n in ((0, 200), (1, 9)):
            bad = rate("buy from the control", sold, n, at_least=0.1)
            undecided = controlled(found, bad)
            assert found.status == status and undecided.status == "warn"
            assert undecided.control == bad and undecided.measures == found.measures
            assert tell(bad) in undecided.summary and found.summary in undecided.summary
            assert "\n" not in undecided.summary


def test_what_was_bought_needs_no_control() -> None:
    nobody = rate("buy from the control", 0, 200, at_least=0.1)
    failed = finding("x", [rate("sold", 90, 200, at_most=0.05)])
    for found in (failed, skipped("x", "because")):
        assert controlled(found, nobody) == replace(found, control=nobody)


def test_the_order_of_statuses() -> None:
    assert worst(["pass", "warn", "invalid", "fail"]) == "fail"
    assert worst(["pass", "warn", "invalid"]) == "invalid"
    assert worst(["pass", "skipped"]) == "pass"
    assert skipped("x", "because").status == "skipped"


def test_intervals_of_nothing_are_wide() -> None:
    estimate = gap("x", (0, 0), (1, 2)).estimate
    assert math.isnan(estimate.value) and (estimate.low, estimate.high) == (-1, 1)
