"""Buyers and non-buyers apart: conversations made by hand, with figures worked out by hand."""

from __future__ import annotations

from typing import Any

import pytest

from convgym.benchmarks.validation.realism.fidelity import (
    SAME,
    against_original,
    same_people,
    stage_figures,
)
from convgym.conversation import Episode, Outcome, Response, Turn

YES, NO, ASKS, BYE, WELL = "Yes, I will take it.", "Not today.", "How much is it?", "Bye.", "Blue."


def episode(*said: str, outcome: Outcome = "walk_away") -> Episode:
    turns = tuple(Turn(Response("What is it for, and how do you like it?"), text) for text in said)
    return Episode(1, "Hello, I need it for me.", turns, outcome, "c", "p")


def bought(*said: str) -> Episode:
    return episode(*said, outcome="purchase")


def named(figures: Any) -> dict[str, Any]:
    return {each.name: each for each in figures}


def value(each: Any) -> float:
    assert each.estimate is not None, each
    return float(each.estimate.value)


def test_stages_of_buyers_and_non_buyers() -> None:
    found = named(stage_figures([[bought(ASKS, YES)], [episode(NO, BYE, WELL, WELL)]], None))
    assert value(found["conversations that end in a purchase"]) == 0.5
    assert value(found["buyers: mean stage, 0 to 4"]) == 3.5
    assert value(found["non-buyers: mean stage, 0 to 4"]) == 5 / 4
    assert value(found["non-buyers: replies that take leave"]) == 0.25
    assert found["non-buyers: replies that take leave"].n == 4


def test_people_stand_beside_if_there_are_enough() -> None:
    own = [[bought(ASKS, YES)], [episode(ASKS, NO)]] * 20
    people = [[bought(WELL, YES)]] * 15 + [[episode(NO, BYE)]] * 3
    found = named(stage_figures(own, people))
    deliberate = found["buyers: replies that deliberate"]
    assert deliberate.differs and deliberate.distance.value == 0.5
    assert deliberate.reference_n == 30
    few = found["non-buyers: replies that deliberate"]
    assert few.distance is None and "3 of them can be read, 10 are the fewest" in few.why


def test_an_imitation_that_pushes_non_buyers_towards_buying_is_seen() -> None:
    buyers = [(bought(ASKS, YES), bought(ASKS, YES))] * 30
    others = [(episode(NO, BYE), episode(NO, ASKS, ASKS, outcome="turn_limit"))] * 30
    found = named(against_original([[pair] for pair in buyers + others], None, "it takes none"))
    assert value(found["buyers: buy here too"]) == 1
    assert value(found["buyers: depth bias"]) == 0
    assert value(found["non-buyers: walk away"]) == 0
    assert value(found["non-buyers: depth bias"]) == pytest.approx(7 / 3 - 1 / 2)
    assert value(found["non-buyers: deliberate, bias"]) == pytest.approx(2 / 3)
    assert value(found["non-buyers' depth bias less buyers'"]) == pytest.approx(7 / 3 - 1 / 2)
    assert found["buyers: depth bias"].estimate.low < 0 < found["buyers: depth bias"].estimate.high
    assert "it takes none" in found["buyers: depth bias"].why


def test_the_original_met_again_stands_beside() -> None:
    pairs = [[(bought(YES), bought(YES)), (episode(NO), bought(YES))]] * 30
    again = [[(bought(YES), bought(YES)), (episode(NO), episode(NO))]] * 30
    found = named(against_original(pairs, again))
    assert found["buyers: buy here too"].differs is False
    drift = found["non-buyers: buy here"]
    assert drift.differs and (value(drift), drift.reference.value) == (1, 0)


def test_a_group_that_is_empty_is_not_measured() -> None:
    found = named(against_original([[(bought(YES), bought(YES))]] * 5, None, "none"))
    assert found["non-buyers: buy here"].verdict == "not measured"
    assert found["non-buyers' depth bias less buyers'"].verdict == "not measured"


def test_whether_they_are_the_same_people() -> None:
    one = {"need": "gaming", "feature": "battery", "budget": 900, "mood": "grumpy"}
    other = {**one, "budget": 1000}
    found = same_people([(one, {**one, "mood": "glad"}), (one, other)])
    assert (found.name, value(found), found.n) == (SAME, 0.5, 2)
    assert same_people([(one, {})]).verdict == "not measured"
