"""The scripted customer's behaviour: seeds, disclosure, objections, patience and utility."""

from __future__ import annotations

import math
import pickle
import random
from dataclasses import replace
from typing import Any

import gymnasium
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from convgym.customers.base import Customer, Decision, Snapshottable
from convgym.customers.profile import PERSONAS, draw_profile
from convgym.customers.scripted.buying import State, purchase_probability, sigmoid, utility
from convgym.customers.scripted.customer import ScriptedCustomer
from convgym.errors import ConvgymError
from convgym.shop.catalog import load_catalog

GOOD_TALK = (
    "What will you use it for?",
    "What matters most to you?",
    "What is your budget?",
    "I recommend the Ember.",
    "It comes with a two year warranty.",
    "Would you like to buy it?",
)


def talk(customer: ScriptedCustomer, seed: int, utterances: tuple[str, ...]) -> list[str]:
    said = [customer.reset(seed)]
    for utterance in utterances:
        reply = customer.respond(utterance)
        said.append(f"{reply.text} [{reply.decision}]")
        if reply.decision is not Decision.CONTINUE:
            break
    return said


def test_it_is_a_snapshottable_customer() -> None:
    assert isinstance(ScriptedCustomer(), Customer)
    assert isinstance(ScriptedCustomer(), Snapshottable)


@pytest.mark.parametrize("seed", range(20))
def test_same_seed_same_conversation(seed: int) -> None:
    used = ScriptedCustomer()
    talk(used, 999, GOOD_TALK)
    assert talk(used, seed, GOOD_TALK) == talk(ScriptedCustomer(), seed, GOOD_TALK)


def test_seeds_give_different_customers() -> None:
    customer = ScriptedCustomer()
    profiles = set()
    for seed in range(200):
        customer.reset(seed)
        profiles.add(customer.profile)
    assert len(profiles) == 200


def test_only_what_is_asked_is_disclosed() -> None:
    customer = ScriptedCustomer(persona="hurried", patience=20)
    for seed in range(100):
        customer.reset(seed)
        assert customer.state.disclosed == set()
        customer.respond("What is your budget?")
        assert customer.state.disclosed == {"budget"}


def test_an_objection_is_raised_and_must_be_answered_to_the_point() -> None:
    customer = ScriptedCustomer(patience=30)
    for seed in range(300):
        customer.reset(seed)
        if customer.profile.objections == ("warranty",):
            break
    for utterance in GOOD_TALK[:3]:
        customer.respond(utterance)
    suitable = [
        product
        for product in customer.catalog.products
        if customer.profile.need in product.needs
        and customer.profile.feature in product.features
        and product.price <= customer.profile.budget
    ]
    customer.respond(f"I recommend the {suitable[-1].name}.")
    assert customer.state.raised == ["warranty"]
    before = customer.utility()
    customer.respond("We ship it tomorrow.")
    assert customer.state.raised == ["warranty"]
    assert customer.utility() < before
    customer.respond("It comes with a two year warranty.")
    assert customer.state.raised == []
    assert customer.utility() > before + 2


@pytest.mark.parametrize(
    "bad",
    [
        "",
        "Nice weather today.",
        "xq zz kk pp",
        "What is your budget? " * 40,
        "Buy it now!",
        "The Ember costs $9.",
    ],
)
def test_bad_utterances_cost_patience_and_goodwill(bad: str) -> None:
    customer, neutral = ScriptedCustomer(patience=20), ScriptedCustomer(patience=20)
    for either in (customer, neutral):
        either.reset(5)
        either.respond("I recommend the Ember.")
    customer.respond(bad)
    neutral.respond("What is your budget?")
    assert customer.state.patience < neutral.state.patience
    assert customer.state.annoyance > neutral.state.annoyance


def test_repeating_oneself_annoys() -> None:
    customer = ScriptedCustomer(patience=20)
    customer.reset(1)
    customer.respond("What is your budget?")
    calm = customer.state.annoyance
    customer.respond("what is your BUDGET?")
    assert customer.state.annoyance > calm


def test_patience_runs_out() -> None:
    customer = ScriptedCustomer(patience=3)
    customer.reset(0)
    decisions = [customer.respond(f"What is your budget{'?' * i}").decision for i in range(1, 4)]
    assert decisions[0] is Decision.CONTINUE
    assert Decision.LEAVE in decisions


def test_closing_with_nothing_shown_never_sells() -> None:
    customer = ScriptedCustomer(patience=30)
    for seed in range(200):
        customer.reset(seed)
        assert customer.respond("Would you like to buy it?").decision is Decision.CONTINUE


@pytest.mark.parametrize("seed", range(10))
def test_restore_goes_back_exactly(seed: int) -> None:
    customer = ScriptedCustomer()
    customer.reset(seed)
    customer.respond(GOOD_TALK[0])
    kept = pickle.loads(pickle.dumps(customer.snapshot()))
    first = [customer.respond(utterance) for utterance in GOOD_TALK[1:]]
    customer.reset(seed + 1)
    customer.restore(kept)
    assert [customer.respond(utterance) for utterance in GOOD_TALK[1:]] == first
    other = ScriptedCustomer()
    other.restore(kept)
    assert [other.respond(utterance) for utterance in GOOD_TALK[1:]] == first


def test_restore_with_a_seed_draws_fresh_randomness() -> None:
    customer = ScriptedCustomer()
    customer.reset(0)
    kept = customer.snapshot()
    replies = set()
    for seed in range(30):
        customer.restore(kept, seed=seed)
        replies.add(customer.respond("What will you use it for?").text)
    assert len(replies) > 3


def test_asking_again_is_worth_nothing_and_a_better_offer_the_rest() -> None:
    assert purchase_probability(1.0, refused=1.0) == 0
    assert purchase_probability(0.0, refused=1.0) == 0
    # One question at u=2 or two at u=1 then u=2 sell to the same share of customers.
    once = purchase_probability(2.0, -math.inf)
    first = purchase_probability(1.0, -math.inf)
    assert first + (1 - first) * purchase_probability(2.0, refused=1.0) == pytest.approx(once)


@given(st.floats(-700, 700), st.floats(-700, 700))
def test_purchase_probability_is_a_probability(u: float, refused: float) -> None:
    assert 0 <= purchase_probability(u, refused) <= 1


@settings(max_examples=50)
@given(st.integers(0, 2**32), st.sampled_from(range(16)))
def test_utility_is_monotone(seed: int, index: int) -> None:
    catalog = load_catalog("laptops")
    product = catalog.products[index]
    profile = draw_profile(random.Random(seed), catalog, None, None)
    state = State(patience=5, trust=0.5)
    base = utility(profile, state, product)
    dearer = product.model_copy(update={"price": max(product.price, profile.budget) * 2})
    assert utility(profile, state, dearer) < base
    assert utility(profile, replace(state, disclosed={"need"}), product) > base
    assert utility(profile, replace(state, raised=["price"]), product) < base
    assert utility(profile, replace(state, trust=0.9), product) > base
    assert utility(profile, replace(state, annoyance=1.0), product) < base


def test_utility_in_closed_form() -> None:
    catalog = load_catalog("laptops")
    product = catalog.product("Ember")
    profile = draw_profile(random.Random(0), catalog, "hurried", None)
    profile = replace(profile, need="office", feature="battery", budget=400, price_sensitivity=2.0)
    state = State(
        patience=1,
        trust=0.5,
        annoyance=2,
        disclosed={"need"},
        raised=["price"],
        unspoken=["reviews"],
    )
    # base + need + feature + understood/3 + trust/2 - 2*annoyance - 2*over*0.25 - raised - unspoken
    assert utility(profile, state, product) == pytest.approx(
        -7.6 + 3.5 + 1.8 + 1.0 + 1.25 - 1.6 - 5.0 - 2.5 - 1.5
    )


def test_sigmoid_is_stable() -> None:
    assert sigmoid(-1000) == 0
    assert sigmoid(1000) == 1
    assert sigmoid(0) == 0.5


@pytest.mark.parametrize("persona", PERSONAS)
def test_personas_can_be_fixed(persona: str) -> None:
    customer = ScriptedCustomer(persona=persona)
    customer.reset(3)
    low, high = PERSONAS[persona].patience
    assert customer.profile.persona == persona
    assert low <= customer.profile.patience <= high


def test_the_distribution_is_the_published_one() -> None:
    rng, catalog, n = random.Random(0), load_catalog("laptops"), 4000
    drawn = [draw_profile(rng, catalog, None, None) for _ in range(n)]
    for name, persona in PERSONAS.items():
        share = sum(profile.persona == name for profile in drawn) / n
        assert abs(share - persona.share) < 4 * math.sqrt(persona.share / n)


def test_fingerprint_tells_settings_apart() -> None:
    assert ScriptedCustomer().fingerprint == ScriptedCustomer().fingerprint
    assert ScriptedCustomer().fingerprint != ScriptedCustomer(patience=4).fingerprint


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"persona": "hurryd"}, "did you mean 'hurried'"),
        ({"catalog": "laptop"}, "did you mean 'laptops'"),
        ({"catalog": "/nowhere/shop.json"}, "cannot read"),
        ({"patience": 0}, "positive number of turns"),
        ({"patience": float("nan")}, "positive number of turns"),
    ],
)
def test_bad_arguments_get_one_clear_line(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ConvgymError, match=message) as caught:
        ScriptedCustomer(**arguments)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)


def test_use_before_reset_is_explained() -> None:
    with pytest.raises(ConvgymError, match="reset"):
        ScriptedCustomer().respond("Hello")


@settings(max_examples=200, deadline=None)
@given(st.lists(st.text(max_size=300), max_size=8))
def test_no_text_crashes_it_or_sells(utterances: list[str]) -> None:
    customer = ScriptedCustomer(patience=50)
    customer.reset(0)
    for utterance in utterances:
        reply = customer.respond(utterance)
        assert reply.decision is not Decision.BUY
        if reply.decision is Decision.LEAVE:
            break


@pytest.mark.parametrize("seed", range(5))
def test_a_reasoning_seller_annoys_nobody_by_thinking(seed: int) -> None:
    thought = "<think>" + "What could this customer want, and what can it pay? " * 60 + "</think>"

    def talk(before: str) -> tuple[str, Any]:
        env = gymnasium.make("convgym:convgym/Sales-v0", reveal_latent=True)
        observation, info = env.reset(options={"episode_seed": seed})
        for words in ("What will you use it for?", "I recommend the Kestrel."):
            observation, *_, info = env.step(before + words)
        return observation, info["latent"]

    assert talk(thought) == talk("")


def test_after_a_restore_the_same_offer_is_no_news() -> None:
    customer, other = ScriptedCustomer(), ScriptedCustomer()
    for each in (customer, other):
        each.reset(3)
        each.respond("What will you use it for?")
        each.respond("I recommend the Kestrel.")
    customer.restore(pickle.loads(pickle.dumps(customer.snapshot())))
    again = "The Kestrel is a great choice."
    assert customer.respond(again) == other.respond(again)
    assert customer.latent == other.latent


def test_a_snapshot_does_not_go_on_with_its_customer() -> None:
    customer = ScriptedCustomer()
    customer.reset(3)
    state = customer.snapshot()
    kept = pickle.dumps(state)
    before = customer.latent
    for words in ("What is your budget?", "I recommend the Kestrel.", "Buy it!", "xq zzk brrt"):
        customer.respond(words)
    assert customer.latent != before
    customer.restore(state)
    assert customer.latent == before
    customer.respond("What is your budget?")
    assert pickle.dumps(state) == kept
