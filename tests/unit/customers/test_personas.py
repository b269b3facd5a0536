"""Populations of personas: their data files, their manners, and profiles that are fixed."""

from __future__ import annotations

import json
import math
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from convgym import datafiles
from convgym.customers.base import Decision
from convgym.customers.personas import load_personas
from convgym.customers.profile import PERSONAS
from convgym.customers.scripted.customer import ScriptedCustomer
from convgym.customers.scripted.wording import EVASIONS
from convgym.errors import ConvgymError
from convgym.rollout import rollout
from convgym.sellers import make_seller

QUESTIONS = {
    "need": "What will you use it for?",
    "feature": "What matters most to you?",
    "budget": "What is your budget?",
}


def difficult(persona: str, **options: Any) -> ScriptedCustomer:
    return ScriptedCustomer(personas="difficult", persona=persona, **options)


def test_the_populations_of_the_package() -> None:
    assert datafiles.names("personas") == ["default", "difficult"]
    assert load_personas("default").personas == PERSONAS
    assert not load_personas("default").mannered
    assert load_personas("difficult").mannered
    assert list(load_personas("difficult").personas) == [
        "rambler", "curt", "impatient", "window-shopper", "silent",
    ]  # fmt: skip


@pytest.mark.parametrize("name", datafiles.names("personas"))
def test_the_distribution_is_the_published_one(name: str) -> None:
    customer, n = ScriptedCustomer(personas=name), 2000
    met = []
    for seed in range(n):
        customer.reset(seed)
        met.append(customer.profile)
    for persona, kind in load_personas(name).personas.items():
        these = [profile for profile in met if profile.persona == persona]
        assert abs(len(these) / n - kind.share) < 4 * math.sqrt(kind.share / n)
        assert all(kind.patience[0] <= profile.patience <= kind.patience[1] for profile in these)
        none = sum(not profile.objections for profile in these) / len(these)
        assert abs(none - kind.objections[0]) < 4 * math.sqrt(0.25 / len(these))


def test_populations_tell_apart_in_the_fingerprint() -> None:
    assert ScriptedCustomer(personas="difficult").fingerprint != ScriptedCustomer().fingerprint
    assert ScriptedCustomer(personas="default").fingerprint == ScriptedCustomer().fingerprint


def test_a_window_shopper_never_buys() -> None:
    environment = {
        "customer": partial(difficult, "window-shopper", patience=30.0),
        "reveal_latent": True,
    }
    episodes = rollout(make_seller("oracle"), range(200), environment=environment)
    assert not any(episode.converted for episode in episodes)
    assert any("look" in turn.reply for episode in episodes for turn in episode.turns)
    customer = difficult("window-shopper")
    customer.reset(0)
    assert customer.latent["would_buy"] is False
    customer.respond("I recommend the Ember.")
    assert customer.utility() < -900
    ordinary = ScriptedCustomer()
    ordinary.reset(0)
    assert ordinary.latent["would_buy"] is True


@pytest.mark.parametrize("persona", ["rambler", "silent"])
def test_what_is_evaded_is_told_when_asked_again_at_no_price(persona: str) -> None:
    customer, evaded = difficult(persona, patience=20.0), 0
    beside = EVASIONS["evade_tangent" if persona == "rambler" else "evade_silence"]
    for seed in range(150):
        customer.reset(seed)
        for topic, question in QUESTIONS.items():
            if topic in customer.state.disclosed:
                continue
            before = customer.latent
            first = customer.respond(question)
            if topic in customer.state.disclosed:
                continue
            evaded += 1
            after = customer.latent
            assert first.text in beside and first.decision is Decision.CONTINUE
            assert after["patience_left"] == before["patience_left"] - 1
            assert after["annoyance"] == before["annoyance"]
            assert after["trust_now"] == before["trust_now"]
            customer.respond(question)  # in the very same words
            assert topic in customer.state.disclosed
            assert customer.state.annoyance == before["annoyance"]
            assert customer.state.patience == before["patience_left"] - 2
    kind = load_personas("difficult")[persona]
    assert abs(evaded / 450 - kind.evades) < 0.12


def test_a_default_customer_takes_the_same_words_twice_amiss() -> None:
    customer = ScriptedCustomer(patience=20)
    customer.reset(1)
    for _ in range(2):
        customer.respond("What is your budget?")
    assert customer.state.annoyance > 0


def test_the_curt_answer_in_a_word_or_two() -> None:
    episodes = rollout(
        make_seller("mediocre"), range(200), environment={"customer": partial(difficult, "curt")}
    )
    words = [len(turn.reply.split()) for episode in episodes for turn in episode.turns]
    assert sum(count <= 2 for count in words) / len(words) > 0.85
    assert max(words) <= 6  # a grumble, an answer and an objection in one reply


@pytest.mark.parametrize("persona", ["rambler", "curt", "silent"])
def test_difficult_customers_can_be_served(persona: str) -> None:
    environment = {"customer": partial(difficult, persona)}
    episodes = rollout(make_seller("competent"), range(150), environment=environment)
    assert sum(episode.converted for episode in episodes) > 100


def test_difficult_customers_can_be_copied() -> None:
    customer = ScriptedCustomer(personas="difficult")
    for seed in range(40):
        customer.reset(seed)
        customer.respond(QUESTIONS["need"])
        kept = customer.snapshot()
        first = [customer.respond(question) for question in QUESTIONS.values()]
        customer.reset(99)
        customer.restore(kept)
        assert [customer.respond(question) for question in QUESTIONS.values()] == first


def persona(**change: Any) -> dict[str, Any]:
    given = json.loads(load_personas("default")["hurried"].model_dump_json(exclude_defaults=True))
    return {**given, "share": 1, **change}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"share": 0.5}, "shares must add up to 1, got 0.5"),
        ({"patience": [5, 3]}, r"personas.mine.patience: .*low <= high, got \[5, 3\]"),
        ({"patience": [0, 3]}, "patience must be above 0"),
        ({"trust": [0.2, 1.5]}, r"personas.mine.trust: .*in \[0, 1\]"),
        ({"objections": [0.5, 0.1, 0.1]}, "objections must add up to 1, got 0.7"),
        ({"evades": 2}, "personas.mine.evades"),
        ({"evasion": "shouting"}, "personas.mine.evasion"),
        ({"shy": True}, "personas.mine.shy: Extra inputs"),
    ],
)
def test_mistakes_in_a_data_file_are_told_in_one_line(
    change: dict[str, Any], message: str, tmp_path: Path
) -> None:
    path = tmp_path / "people.json"
    path.write_text(json.dumps({"name": "people", "personas": {"mine": persona(**change)}}))
    with pytest.raises(ConvgymError, match=message) as caught:
        ScriptedCustomer(personas=path)
    assert "\n" not in str(caught.value)


def test_a_population_of_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "people.json"
    path.write_text(json.dumps({"name": "people", "personas": {"mine": persona(evades=1)}}))
    customer = ScriptedCustomer(personas=path)
    customer.reset(0)
    assert customer.profile.persona == "mine"
    with pytest.raises(ConvgymError, match="unknown persona 'hurried'; known: mine"):
        ScriptedCustomer(personas=path, persona="hurried")
    with pytest.raises(ConvgymError, match=r"unknown population of personas 'dificult'.*mean"):
        ScriptedCustomer(personas="dificult")


# Profiles.


def test_a_profile_fixes_what_it_names_and_nothing_else() -> None:
    customer = ScriptedCustomer()
    for seed in range(100):
        opening = customer.reset(seed)
        free = customer.profile
        assert customer.reset(seed, profile={}) == opening
        assert customer.profile == free
        customer.reset(seed, profile={"trust": 0.25, "objections": ["price"]})
        assert customer.profile.trust == customer.state.trust == 0.25
        assert customer.profile.objections == ("price",)
        assert customer.state.unspoken == ["price"]
        assert (customer.profile.need, customer.profile.patience) == (free.need, free.patience)


def test_the_budget_suits_a_fixed_need() -> None:
    customer = ScriptedCustomer()
    for seed in range(100):
        customer.reset(seed, profile={"need": "editing", "feature": "screen"})
        suiting = [p for p in customer.catalog.products if "editing" in p.needs]
        cheapest = min(p.price for p in suiting if "screen" in p.features)
        assert customer.profile.budget >= 0.9 * cheapest
        customer.reset(seed, profile={"budget": 77, "persona": "sceptic", "patience": 3})
        assert (customer.profile.budget, customer.profile.persona) == (77, "sceptic")
        assert customer.state.patience == 3


@pytest.mark.parametrize(
    ("profile", "message"),
    [
        ("hurried", "a profile must be a mapping of fields to values, got 'hurried'"),
        ({"mood": "bad"}, "unknown profile field 'mood'"),
        ({"need": "gamming"}, "need must be one of gaming, .*got 'gamming'"),
        ({"persona": "shy"}, "persona must be one of easy-going"),
        ({"feature": ["screen"]}, "feature must be one of"),
        ({"budget": 0}, "budget must be a whole number above 0, got 0"),
        ({"budget": True}, "budget must be a whole number above 0, got True"),
        ({"objections": ["price", "price"]}, "objections must be different ones of"),
        ({"objections": "price"}, "objections must be different ones of"),
        ({"objections": [["price"]]}, "objections must be different ones of"),
        ({"patience": float("inf")}, "patience must be a positive number of turns"),
        ({"trust": 1.5}, r"trust must be a number in \[0, 1\]"),
        ({"price_sensitivity": -1}, "price_sensitivity must be a number from 0 upwards"),
    ],
)
def test_mistakes_in_a_profile_are_told_in_one_line(profile: Any, message: str) -> None:
    customer = ScriptedCustomer()
    customer.reset(4)
    before = customer.latent
    with pytest.raises(ConvgymError, match=message) as caught:
        customer.reset(5, profile=profile)
    assert "\n" not in str(caught.value)
    assert customer.latent == before
