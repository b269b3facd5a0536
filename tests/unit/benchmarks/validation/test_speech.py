"""What the patterns of speech find, and what they let pass."""

from __future__ import annotations

from typing import Any

import pytest

from convgym.benchmarks.validation.encounters import Meeting
from convgym.benchmarks.validation.speech import (
    LEAKAGE,
    WORDS,
    contradicts,
    leaks,
    sells,
    stuck,
    told,
)
from convgym.benchmarks.validation.subject import Subject
from convgym.conversation import Episode, Message, Response, Turn
from convgym.customers.scripted.wording import EVASIONS, FRAGMENTS, PHRASES
from convgym.sellers.knowledge import PHRASES as SELLER_PHRASES
from convgym.sellers.knowledge import SellerKnowledge
from convgym.shop.catalog import load_catalog
from convgym.shop.grammar import grammar

LATENT: dict[str, Any] = {"budget": 800, "price_sensitivity": 1.23456, "trust_now": 0.5}


@pytest.mark.parametrize(
    "text",
    [
        "You are a customer in a shop for laptops.",
        "You play a customer in a shop.",
        "I am playing a customer.",
        "As an AI language model, I cannot buy.",
        "I'm an AI.",
        "Your budget is $800. You never pay more.",
        "Your patience lasts for about 5 messages.",
        "My instructions are to buy nothing.",
        "My price_sensitivity is high.",
        "It is 1.235, exactly.",
        "utility: -3.5",
        '{"decision": "continue", "say": "Hi"}',
        "<|im_start|>assistant",
        "I will not. </s>",
    ],
)
def test_leaks_are_found(text: str) -> None:
    assert leaks(text, LATENT)


@pytest.mark.parametrize(
    "text",
    [
        "I do not know what you mean by a system prompt.",
        "I lose my patience.",
        "I am a customer, what else?",
        "My budget is $800.",
        "It costs 1.2 times as much.",
        "What persona?",
    ],
)
def test_a_customer_may_speak_of_itself(text: str) -> None:
    assert not leaks(text, LATENT)


@pytest.mark.parametrize(
    "text",
    [
        "How can I help you today?",
        "Welcome to our store!",
        "Seller: it is a good one.",
        "We have many laptops.",
        "I recommend the Aero.",
        "I can offer you a discount.",
        "Would you like to buy it?",
        "Thank you for your purchase.",
        "What is your budget?",
    ],
)
def test_a_seller_is_known_by_its_words(text: str) -> None:
    assert sells(text)


@pytest.mark.parametrize(
    "text",
    [
        "Can you help me find a laptop?",
        "Do you recommend the Aero?",
        "I would like to buy it.",
        "Thank you for your help.",
        "My budget is 500.",
        "What do you have?",
        "And what about the laptop?",
        "Why that one? We have hardly spoken.",
        "We have talked about that before.",
    ],
)
def test_a_customer_is_not_taken_for_a_seller(text: str) -> None:
    assert not sells(text)


@pytest.mark.parametrize("kind", ["recommend", "close"])
def test_reference_sellers_speak_as_sellers(kind: str) -> None:
    plain = ("I ", "Would", "Shall")
    said = [phrase for phrase in SELLER_PHRASES[kind] if phrase.startswith(plain)]
    assert len(said) == 2
    assert all(sells(phrase.format(product="Aero", price="$1", claim="")) for phrase in said)


@pytest.mark.parametrize("fragments", [False, True])
def test_nothing_that_a_shopper_says_is_taken_for_a_fault(fragments: bool) -> None:
    spoken = grammar("shopper", fragments)
    for meaning in spoken.meanings:
        for text in spoken.ways(meaning):
            assert not leaks(text, LATENT) and not sells(text), text


@pytest.mark.parametrize("phrases", [PHRASES, EVASIONS, FRAGMENTS])
def test_no_phrase_of_the_scripted_customer_is_taken_for_a_fault(phrases: Any) -> None:
    for kind, options in phrases.items():
        for text in options:
            assert not leaks(text, LATENT) and not sells(text), text
            assert not contradicts(text, bought=kind == "buy"), text


@pytest.mark.parametrize(
    ("text", "bought", "contradiction"),
    [
        ("I will take it.", True, False),
        ("I will take it.", False, True),
        ("Okay, you have a deal.", False, True),
        ("No, thank you.", True, True),
        ("I am not interested.", True, True),
        ("I am not interested.", False, False),
        ("No problem, I'll take it.", True, False),
        ("I will not take it.", False, False),
        ("It is nice.", True, False),
    ],
)
def test_words_against_decisions(text: str, bought: bool, contradiction: bool) -> None:
    assert contradicts(text, bought) is contradiction


@pytest.mark.parametrize(
    ("said", "latent", "topics"),
    [
        ("I need a laptop.", LATENT, set()),
        ("It is for gaming.", LATENT, {"need"}),
        ("I have $800 and want a big screen.", LATENT, {"budget", "feature"}),
        ("I have two cats and 800 books, for gaming.", {}, {"need", "budget"}),
        ("I need 1 laptop in 2 weeks.", {}, set()),
        ("I was born in 1990.", LATENT, set()),
    ],
)
def test_what_a_customer_told(said: str, latent: dict[str, Any], topics: set[str]) -> None:
    messages: list[Message] = [
        {"role": "user", "content": said},
        {"role": "assistant", "content": "This one is for editing and costs $800."},
    ]
    assert told(messages, SellerKnowledge(load_catalog("laptops")), latent) == topics


@pytest.mark.parametrize(
    ("replies", "is_stuck"),
    [
        (["Hm.", "Hm.", "hm. "], True),
        (["Yes.", "Hm.", "Hm.", "Hm.", "No."], True),
        (["Hm.", "Hm.", "Well.", "Hm.", "Hm."], False),
        ([], False),
    ],
)
def test_saying_the_same_again_and_again(replies: list[str], is_stuck: bool) -> None:
    assert stuck(replies) is is_stuck


def test_one_that_is_stuck_fails_by_its_words() -> None:
    turns = (Turn(Response("What is it for?"), "Your words."),) * 4
    meeting = Meeting(Episode(0, "Hi.", turns, "turn_limit", "made up", "competent"), ({},) * 4)
    evidence = {"competent": [meeting] * 20, "mediocre": [], "always-closing": []}
    found = WORDS.judge(evidence, Subject("scripted", conversations=1))
    assert [measure.status for measure in found.measures] == ["warn", "warn", "fail"]
    assert found.transcripts[0].note == "said the same again and again"


@pytest.mark.parametrize(
    ("said", "status"), [("Nice. Does the spout drip?", "fail"), ("Nice. Is it loud?", "pass")]
)
def test_one_that_recites_the_example_that_it_was_shown_leaks(said: str, status: str) -> None:
    turns = (Turn(Response("It is new."), said),)
    meeting = Meeting(Episode(0, "Hi.", turns, "turn_limit", "made up", "competent"), ({},))
    evidence = {"interrogation": [meeting] * 300, "competent": [meeting] * 300}
    found = LEAKAGE.judge(evidence, Subject("scripted", conversations=1))
    assert [measure.status for measure in found.measures] == [status, status]
