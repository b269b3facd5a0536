"""What the sellers of v1 hear, note and say."""

from __future__ import annotations

import random

import pytest

from convgym.conversation import Message
from convgym.customers.shopper.customer import ShopperCustomer
from convgym.customers.shopper.voice import Voice
from convgym.sellers.listening import PHRASES, Act, Notes, ShopperKnowledge, listener
from convgym.shop.catalog import load_catalog
from convgym.shop.grammar import grammar

UNHEARD = {"evade_silence", "leave", "leave_annoyed", "voided"}
"""Meanings without words, and those after which nobody listens."""


@pytest.fixture(scope="module")
def knowledge() -> ShopperKnowledge:
    return ShopperKnowledge(load_catalog("laptops"))


@pytest.mark.parametrize("shop", ["laptops", "insurance"])
def test_every_meaning_is_heard(shop: str) -> None:
    catalog, rng = load_catalog(shop), random.Random(1)
    ear, voice, customer = listener(catalog), Voice(catalog, "shopper"), ShopperCustomer(shop)
    right = total = 0
    for fragments in (False, True):
        for meaning in sorted(set(grammar("shopper", fragments).meanings) - UNHEARD):
            heard = 0
            for seed in range(12):
                customer.reset(seed)
                product, other = rng.sample(catalog.products, 2)
                text = voice.say(
                    meaning, rng, customer.profile, product, fragments=fragments, other=other.name
                )
                # To open with a need is to tell it.
                said = {said.removeprefix("opening_") for _, said in ear.hear(text)}
                heard += said == {meaning.removeprefix("opening_")}
            assert heard >= 8, (meaning, fragments)
            right, total = right + heard, total + 12
    assert right / total > 0.97


def test_moods_are_heard_as_such() -> None:
    ear = listener(load_catalog("laptops"))
    assert [said for _, said in ear.hear("Lovely! For gaming.")] == ["mood", "need"]


def notes_of(knowledge: ShopperKnowledge, *said: str) -> Notes:
    messages = [
        Message(role="assistant" if place % 2 else "user", content=text)
        for place, text in enumerate(said)
    ]
    return knowledge.note(messages)


def test_notes_keep_what_was_said_last(knowledge: ShopperKnowledge) -> None:
    notes = notes_of(
        knowledge,
        "Hi, I want a laptop, and it is for gaming.",
        "What matters most to you?",
        "Above all, a long battery life. $700 would be nice, $900 is the limit.",
        "I recommend the Aero for $700.",
        "Oh, I like the Aero. And does it have a big screen?",
    )
    assert (notes.need, notes.feature, notes.low, notes.high) == ("gaming", "battery", 700, 900)
    assert notes.product is not None
    assert (notes.product.name, notes.question, notes.wish) == ("Aero", "spec", "screen")
    assert notes.unknown_topics() == []


@pytest.mark.parametrize(
    ("said", "high"),
    [
        ("1000 bucks", 1000),
        ("Around a grand.", 1000),
        ("1k max", 1000),
        ("$1,000, give or take", 1000),
        ("Somewhere between eight hundred and twelve hundred, I guess.", 1200),
        ("Well, I am ten, and my dad pays 900.", 900),
        ("I am ten.", None),
    ],
)
def test_money_in_the_words_of_people(
    knowledge: ShopperKnowledge, said: str, high: int | None
) -> None:
    notes = notes_of(knowledge, "Hi.", "What is your budget?", said)
    assert notes.high == high
    assert ("budget" in notes.unknown_topics()) is (high is None)


def test_answers_in_the_words_of_people(knowledge: ShopperKnowledge) -> None:
    notes = notes_of(
        knowledge,
        "hey, got a grand to spend",
        "What will you use it for?",
        "playing games with the kids mostly lol",
        "What matters most to you?",
        "gotta have a monster battery i guess",
    )
    assert (notes.need, notes.feature, notes.high) == ("gaming", "battery", 1000)
    evading = notes_of(
        knowledge, "Hi.", "What will you use it for?", "Nice music you play in here."
    )
    assert evading.need is None


def test_a_partner_who_must_agree_is_no_feature() -> None:
    notes = notes_of(
        ShopperKnowledge(load_catalog("insurance")),
        "Hello, I need a policy.",
        "Shall I place the order?",
        "I must ask my wife first.",
    )
    assert (notes.reason, notes.feature) == ("partner", None)


def test_haggling_is_noted_with_the_price_that_is_wanted(knowledge: ShopperKnowledge) -> None:
    notes = notes_of(
        knowledge, "Hi.", "I recommend the Aero.", "Would you take $650 for it?", "5% off.", "Deal."
    )
    assert (notes.reason, notes.wanted, notes.percent) == ("price", 650, 5)


def test_answers_are_true_and_words_are_not_said_twice(knowledge: ShopperKnowledge) -> None:
    aero = knowledge.catalog.product("Aero")
    notes = knowledge.note([Message(role="user", content="Hi.")])
    notes.product, notes.question, notes.wish = aero, "spec", "screen"
    assert knowledge.answer(notes) == Act("tell_no", aero)
    notes.wish = "weight"
    assert knowledge.answer(notes) == Act("tell_yes", aero)
    said = PHRASES["close"][:-1]
    assert knowledge.say((Act("close"),), random.Random(0), said=said) == PHRASES["close"][-1]
