"""What is told of a conversation once it is over."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from convgym.benchmarks.talks.hindsight import hindsight
from convgym.conversation import Episode, Outcome, Response, Turn
from convgym.shop.catalog import load_catalog

CATALOG = load_catalog("laptops")
EPISODE = Episode(1, "Hi.", (Turn(Response("Buy it."), "No."),) * 2, "walk_away", "c", "p")
LATENT: dict[str, Any] = {
    "persona": "hurried",
    "need": "study",
    "feature": "screen",
    "budget": 1050,
    "patience_left": 0.0,
    "trust_now": 0.5,
    "annoyance": 1.25,
    "disclosed": ["need"],
    "unspoken_objections": ["delivery"],
    "raised_objections": ["price"],
    "product": "Lumen",
    "utility": 0.0,
}


def told(outcome: Outcome = "walk_away", **latent: Any) -> str:
    facts = hindsight(replace(EPISODE, outcome=outcome), {**LATENT, **latent}, CATALOG)
    return "\n".join(f"{label}: {told}" for label, told in facts)


def test_everything_hidden_is_told() -> None:
    text = told()
    assert "(hurried): wants a laptop for study" in text and "budget $1,050" in text
    assert "you heard of: need\n" in text
    assert "price (raised, not answered), delivery (never spoken of)" in text
    assert "on offer: the Lumen, $1,100 (for study, screen, not within the budget)" in text
    assert "it would buy with 50%" in text


@pytest.mark.parametrize(
    ("outcome", "latent", "why"),
    [
        ("walk_away", {}, "patience was used up after 2 turns"),
        ("walk_away", {"patience_left": 1.0}, "the customer left after 2 turns"),
        ("purchase", {}, "bought the Lumen after 2 turns"),
        ("turn_limit", {}, "nothing was decided in 2 turns"),
    ],
)
def test_the_reason(outcome: Outcome, latent: dict[str, Any], why: str) -> None:
    assert why in told(outcome, **latent).splitlines()[0]


def test_without_an_offer_and_with_one_that_nobody_takes() -> None:
    assert "on offer: nothing" in told(product=None, utility=None)
    assert "buy with 0%" in told(utility=-1e9)


def test_the_state_of_another_customer_is_told_as_it_stands() -> None:
    facts = list(hindsight(EPISODE, {"bad_mood": True}, CATALOG))
    assert facts == [("why", "the customer left after 2 turns"), ("bad mood", "True")]


def test_of_an_imitation_is_told_what_an_observer_notes() -> None:
    noted = {name: LATENT[name] for name in LATENT.keys() - {"trust_now", "annoyance", "utility"}}
    facts = dict(hindsight(EPISODE, noted, CATALOG))
    assert facts["mood"] == "patience for 0.0 more turns"
    assert facts["on offer"].endswith("not within the budget)")
