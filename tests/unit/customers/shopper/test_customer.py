"""The shopper as a customer: seeds, snapshots, fingerprints, words, and hostile text."""

from __future__ import annotations

import pickle
import random

import gymnasium
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from convgym.customers import customer_law, make_customer
from convgym.customers.scripted.customer import ScriptedCustomer
from convgym.customers.shopper.customer import ShopperCustomer
from convgym.customers.shopper.voice import Voice
from convgym.errors import ConvgymError
from convgym.shop.catalog import load_catalog
from convgym.shop.grammar import grammar

SAID = ("What will you use it for?", "What matters most to you?", "I recommend the Aero.", "Why?")


def test_the_scripted_customer_is_what_it_was() -> None:
    assert ScriptedCustomer().fingerprint == "scripted-v0:laptops:ab92a20d6333"


def test_a_fingerprint_tells_whatever_changes_behaviour() -> None:
    names = [
        ShopperCustomer(catalog, patience=patience, strict=strict, personas=personas).fingerprint
        for catalog, patience, strict, personas in (
            ("laptops", None, False, "default"),
            ("mobile", None, False, "default"),
            ("laptops", 4.0, False, "default"),
            ("laptops", None, True, "default"),
            ("laptops", None, False, "difficult"),
        )
    ]
    assert len(set(names)) == len(names)
    assert all(name.startswith("shopper-v1:") for name in names)


def test_the_same_seed_is_the_same_conversation() -> None:
    first, second = ShopperCustomer(), ShopperCustomer()
    for seed in (2**31 - 1, 7):
        heard = [(c.reset(seed), *map(c.respond, SAID)) for c in (first, second)]
        assert heard[0] == heard[1]
        assert first.latent == second.latent


def test_a_snapshot_goes_on_as_it_did_and_elsewhere_with_another_seed() -> None:
    customer = ShopperCustomer()
    customer.reset(5)
    customer.respond(SAID[0])
    kept = customer.snapshot()
    once = [customer.respond(text) for text in SAID[1:]]
    customer.restore(kept)
    assert [customer.respond(text) for text in SAID[1:]] == once
    others = set()
    for seed in range(5):
        customer.restore(kept, seed=seed)
        others.add(customer.respond(SAID[1]).text)
    assert len(others) > 1


def test_before_the_first_reset_there_is_nobody() -> None:
    customer = ShopperCustomer()
    assert (customer.latent, customer.record) == ({}, {})
    for use in (lambda: customer.profile, lambda: customer.state, customer.utility):
        with pytest.raises(ConvgymError, match="reset"):
            use()


def test_it_travels_in_the_middle_of_a_conversation() -> None:
    customer = ShopperCustomer()
    customer.reset(9)
    customer.respond(SAID[0])
    copy = pickle.loads(pickle.dumps(customer))
    assert copy.respond(SAID[1]) == customer.respond(SAID[1])


def test_what_it_says_of_the_shop_is_right_in_every_shop() -> None:
    for shop in ("insurance", "mobile"):
        customer = ShopperCustomer(catalog=shop)
        openings = {customer.reset(seed) for seed in range(60)}
        assert not any("priced by" in text or "{" in text for text in openings)
        assert len(openings) > 50
    vowel = load_catalog("insurance").model_copy(update={"item": "insurance"})
    voice, profile = Voice(vowel, "shopper"), customer.profile
    said = {
        voice.say("opening", random.Random(n), profile, None, fragments=False) for n in range(80)
    }
    assert any("an insurance" in text for text in said)
    assert not any(" a insurance" in text for text in said)


def test_moods_do_not_contradict_what_is_said() -> None:
    voice = Voice(load_catalog("laptops"), "shopper")
    refusals = {voice.moodily("No.", "bad_offer", "cheerful", random.Random(n)) for n in range(60)}
    assert "No." in refusals and len(refusals) > 2
    assert not any(text.startswith(("Great", "Lovely", "Super")) for text in refusals)


def test_it_has_at_least_ten_times_the_words_of_v0() -> None:
    spoken = grammar("shopper", False)
    assert sum(spoken.count(meaning) for meaning in spoken.meanings) > 2000
    assert min(spoken.count(meaning) for meaning in spoken.meanings) >= 3


def test_sellers_learn_by_which_law_it_buys() -> None:
    assert customer_law({"customer": "shopper"}) == "v1"
    assert customer_law({"customer": ShopperCustomer}) == "v1"
    assert customer_law({"customer": "suggested", "customer_options": {"inner": "shopper"}}) == "v1"
    assert customer_law({}) is customer_law({"customer": "scripted"}) is None


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"wording": "poet"}, "wording"),
        ({"strict": 1}, "strict"),
        ({"persona": "king"}, "persona"),
        ({"patience": -1.0}, "patience"),
    ],
)
def test_options_that_cannot_be_are_refused(options: dict[str, object], complaint: str) -> None:
    with pytest.raises(ConvgymError, match=complaint):
        make_customer("shopper", **options)


def test_rewards_of_money() -> None:
    worth = {}
    for reward in ("purchase", "revenue", "margin"):
        env = gymnasium.make("convgym:convgym/Sales-v1", reward=reward)
        env.reset(options={"episode_seed": 3})
        customer = env.unwrapped._dialogue.customer  # type: ignore[attr-defined]
        customer.reset(3, {"need": "gaming", "feature": "battery", "budget": 900, "objections": ()})
        customer.respond("I recommend the Aero.")
        customer.state.annoyance = -20.0
        worth[reward] = float(env.step("Shall I place the order?")[1])
    assert worth["purchase"] == 1.0
    assert worth["revenue"] == 700
    assert 0 < worth["margin"] < 0.3 * 700


@settings(max_examples=30)
@given(st.lists(st.text(max_size=40), max_size=4))
def test_any_text_is_answered(texts: list[str]) -> None:
    customer = ShopperCustomer()
    customer.reset(1)
    for text in [*SAID[:3], *texts]:
        assert customer.respond(text).text
