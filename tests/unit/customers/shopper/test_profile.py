"""Who comes in: the published distribution, and profiles that are given."""

from __future__ import annotations

from collections import Counter
from random import Random
from typing import Any

import pytest

from convgym.customers.personas import load_personas
from convgym.customers.profile import draw_profile
from convgym.customers.shopper.profile import (
    OBJECTIONS,
    QUESTIONS,
    Shopper,
    check_shopper,
    draw_shopper,
)
from convgym.errors import ConvgymError
from convgym.shop.catalog import load_catalog

LAPTOPS, PERSONAS = load_catalog("laptops"), load_personas("default")


def draw(seed: int, **fixed: Any) -> Shopper:
    return draw_shopper(Random(seed), LAPTOPS, None, None, personas=PERSONAS, fixed=fixed)


@pytest.fixture(scope="module")
def many() -> list[Shopper]:
    return [draw(seed) for seed in range(1500)]


def share(many: list[Shopper], count: int) -> float:
    return count / len(many)


def test_the_shared_fields_are_the_scripted_customers() -> None:
    for seed in range(20):
        plain = draw_profile(Random(seed), LAPTOPS, None, None, personas=PERSONAS)
        shopper = draw(seed)
        assert (shopper.persona, shopper.need, shopper.feature) == (
            plain.persona,
            plain.need,
            plain.feature,
        )
        assert (shopper.budget, shopper.patience) == (plain.budget, plain.patience)
        assert len(shopper.objections) == len(plain.objections)


def test_most_say_what_they_have(many: list[Shopper]) -> None:
    ratios = [shopper.high / shopper.budget for shopper in many]
    assert 0.6 < share(many, sum(0.96 < ratio < 1.04 for ratio in ratios)) < 0.72
    assert 0.15 < share(many, sum(ratio <= 0.9 for ratio in ratios)) < 0.26
    assert all(0 < shopper.low <= shopper.high for shopper in many)


def test_reasons_are_of_six_kinds_and_questions_of_three(many: list[Shopper]) -> None:
    kinds = Counter(kind for shopper in many for kind in shopper.objections)
    assert set(kinds) == set(OBJECTIONS)
    assert max(kinds.values()) < 1.4 * min(kinds.values())
    asked = Counter(kind for shopper in many for kind in shopper.questions)
    assert set(asked) == set(QUESTIONS)
    quiet = [len(shopper.questions) for shopper in many if shopper.talkativeness < 0.3]
    others = [len(shopper.questions) for shopper in many if shopper.talkativeness >= 0.3]
    assert sum(quiet) / len(quiet) == pytest.approx(0.55, abs=0.1)
    assert sum(others) / len(others) == pytest.approx(0.95, abs=0.1)


def test_half_haggle_and_nobody_wants_more_than_the_sign_allows(many: list[Shopper]) -> None:
    wanted = [shopper.haggle for shopper in many if shopper.haggle]
    assert share(many, len(wanted)) == pytest.approx(0.5, abs=0.05)
    assert min(wanted) >= 0.03 and max(wanted) <= 0.11
    assert all(shopper.wish != shopper.feature for shopper in many)
    moods = Counter(shopper.mood for shopper in many)
    assert share(many, moods["neutral"]) == pytest.approx(0.45, abs=0.05)


def test_what_is_given_leaves_the_rest_as_it_would_be() -> None:
    drawn, fixed = draw(5), draw(5, mood="grumpy", budget=900)
    assert (fixed.mood, fixed.budget) == ("grumpy", 900)
    assert (fixed.need, fixed.objections, fixed.haggle) == (
        drawn.need,
        drawn.objections,
        drawn.haggle,
    )


@pytest.mark.parametrize(
    ("profile", "complaint"),
    [
        (["gaming"], "mapping"),
        ({"colour": "red"}, "colour"),
        ({"mood": "blue"}, "one of cheerful, neutral, grumpy"),
        ({"wish": "wings"}, "wish must be one of"),
        ({"objections": ["rain"]}, "different ones of price"),
        ({"questions": ["spec", "spec"]}, "different ones of spec"),
        ({"haggle": 1.0}, "a share of the price"),
        ({"low": 0}, "whole number above 0"),
        ({"high": 10.5}, "whole number above 0"),
        ({"budget": "much"}, "budget"),
        ({"need": "poker"}, "need must be one of"),
    ],
)
def test_a_profile_that_cannot_be_is_refused(profile: Any, complaint: str) -> None:
    with pytest.raises(ConvgymError, match=complaint):
        check_shopper(profile, LAPTOPS, PERSONAS)
