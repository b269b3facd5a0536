"""A verdict is about the interval; what was not measured is never passed."""

from __future__ import annotations

import math

import pytest

from convgym.benchmarks.validation.realism.figures import (
    ABOVE,
    BELOW,
    Figure,
    all_beside,
    beside,
    figure,
    not_measured,
    required,
    shown,
)
from convgym.statistics import Estimate, difference

A, B = Estimate(0.5, 0.4, 0.6), Estimate(0.2, 0.1, 0.35)


@pytest.mark.parametrize(
    ("least", "most", "verdict"),
    [
        (None, None, "described"),
        (0.4, None, "holds"),
        (0.45, None, "undecided"),
        (0.7, None, "breaks"),
        (None, 0.3, "breaks"),
        (0.1, 0.9, "holds"),
        (ABOVE, None, "holds"),
        (None, BELOW, "breaks"),
    ],
)
def test_the_interval_decides(least: float | None, most: float | None, verdict: str) -> None:
    assert figure("f", A, 10, "replies", least=least, most=most).verdict == verdict


def test_what_cannot_be_measured_is_never_passed() -> None:
    for missing in (
        not_measured("f", "no profile"),
        figure("f", A, 0, "replies", least=0.0),
        figure("f", Estimate(math.nan, 0.0, 1.0), 3, "replies", least=0.0),
    ):
        assert missing.verdict == "not measured" and missing.why and missing.differs is None


def test_a_reference_stands_beside_with_the_distance() -> None:
    placed = beside(figure("f", A, 10, "replies"), figure("f", B, 20, "replies"))
    assert (placed.reference, placed.reference_n) == (B, 20)
    assert placed.distance == difference(A, B) and placed.differs is True
    near = beside(figure("f", A, 10, "replies"), figure("f", A, 20, "replies"))
    assert near.differs is False


def test_there_is_no_distance_from_what_was_not_measured() -> None:
    whole, missing = figure("f", A, 10, "replies"), not_measured("f", "too few")
    assert beside(whole, missing).distance is None
    assert "too few" in beside(whole, missing).why
    assert (
        beside(missing, whole).reference == A and beside(missing, whole).verdict == "not measured"
    )
    assert beside(whole, None) is whole


def test_figures_stand_beside_those_of_their_name() -> None:
    own = [figure(name, A, 10, "replies") for name in "ab"]
    assert [each.reference for each in all_beside(own, [figure("b", B, 5, "replies")])] == [None, B]
    assert all_beside(own, None) == tuple(own)


@pytest.mark.parametrize(
    ("unit", "signed", "text"),
    [
        ("%", False, "50.0% [40.0, 60.0]"),
        ("%", True, "+50.0 [+40.0, +60.0]"),
        ("words", False, "0.50 [0.40, 0.60]"),
        ("", False, "0.500 [0.400, 0.600]"),
    ],
)
def test_how_a_number_is_shown(unit: str, signed: bool, text: str) -> None:
    assert shown(A, unit, signed=signed) == text  # type: ignore[arg-type]


def test_what_is_unknown_is_shown_as_unknown() -> None:
    assert shown(None, "%") == "" == shown(Estimate(math.nan, 0, 1), "%")
    assert shown(Estimate(0.5, -math.inf, math.inf), "%") == "50.0% [?, ?]"


@pytest.mark.parametrize(
    ("limits", "text"),
    [
        ({}, ""),
        ({"least": 0.9}, "at least 90%"),
        ({"most": 0.05}, "at most 5%"),
        ({"least": -0.1, "most": 0.1}, "from -10% to 10%"),
        ({"least": ABOVE}, "above 0"),
        ({"most": BELOW}, "below 0"),
    ],
)
def test_ranges_in_words(limits: dict[str, float], text: str) -> None:
    assert required(Figure("f", A, 1, "replies", **limits)) == text  # type: ignore[arg-type]
