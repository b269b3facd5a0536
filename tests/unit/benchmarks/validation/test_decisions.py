"""Calibration against made-up conversations of which all is known."""

from __future__ import annotations

import math

import pytest

from convgym.benchmarks.validation import words
from convgym.benchmarks.validation.decisions import CALIBRATED, first_asked
from convgym.benchmarks.validation.encounters import OFFHAND, Meeting
from convgym.benchmarks.validation.subject import Subject
from convgym.benchmarks.validation.verdicts import Finding
from convgym.conversation import Episode, Outcome, Response, Turn

SUBJECT = Subject("scripted", conversations=1)


def asked(probability: float, outcome: Outcome, *after: str, lines: str = "") -> Meeting:
    """Return a meeting in which the customer is asked to buy in its second turn."""
    said = [lines or "I recommend the Aero.", words.CLOSES[0], *after]
    utility: float | None = math.log(probability / (1 - probability))
    turns = tuple(Turn(Response(text), "Hm.") for text in said)
    latents: tuple[dict[str, float | None], ...] = (
        {"utility": None},
        *({"utility": utility} for _ in said[1:]),
    )
    return Meeting(Episode(0, "Hello.", turns, outcome, "made up", "offhand"), latents)


def judged(rates: dict[float, float], n: int = 1000) -> Finding:
    """Judge a customer that buys at ``rates[p]`` where p is predicted."""
    meetings = [
        asked(p, "purchase" if i < rate * n else "walk_away")
        for p, rate in rates.items()
        for i in range(n)
    ]
    return CALIBRATED.judge({OFFHAND.name: meetings}, SUBJECT)


def test_one_that_buys_as_predicted_passes() -> None:
    assert judged({0.02: 0.02, 0.3: 0.3, 0.7: 0.7, 0.97: 0.97}).status == "pass"


def test_a_threshold_in_place_of_odds_fails_in_the_middle() -> None:
    found = judged({0.02: 0.0, 0.3: 0.0, 0.7: 1.0, 0.97: 1.0})
    assert [measure.status for measure in found.measures] == ["pass", "fail", "fail", "pass"]


@pytest.mark.parametrize("rates", [{0.02: 0.4}, {0.97: 0.6}])
def test_drifting_into_buying_or_out_of_it_fails(rates: dict[float, float]) -> None:
    found = judged(rates)
    assert found.status == "fail"
    assert found.transcripts[0].note.startswith("bought" if 0.02 in rates else "refused")


def test_a_few_conversations_decide_nothing() -> None:
    assert judged({0.3: 0.3}, n=10).status == "warn"


def test_only_the_first_plain_request_counts() -> None:
    bought_later = asked(0.9, "purchase", words.CLOSES[1])
    never_asked = asked(0.9, "walk_away")
    turns = never_asked.episode.turns[:1]
    never_asked = Meeting(
        Episode(1, "Hello.", turns, "walk_away", "made up", "offhand"), never_asked.latents[:1]
    )
    (one,) = first_asked([bought_later, never_asked])
    assert one.bought is False and one.predicted == pytest.approx(0.9)


def test_a_utility_that_is_not_known_is_no_utility() -> None:
    meeting = asked(0.5, "purchase", lines=words.CLOSES[2])
    assert first_asked([meeting]) == []
    assert CALIBRATED.judge({OFFHAND.name: [meeting]}, SUBJECT).status == "skipped"
