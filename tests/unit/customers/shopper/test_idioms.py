"""Questions, offers and answers in everyday words."""

from __future__ import annotations

import pytest

from convgym.customers.scripted.understanding import Meaning, understanding
from convgym.customers.shopper.idioms import affirms, with_idioms
from convgym.shop.catalog import load_catalog


def heard(text: str) -> tuple[Meaning, bool]:
    return with_idioms(understanding(load_catalog("laptops"), careful=True).understand(text), text)


@pytest.mark.parametrize(
    ("topic", "texts"),
    [
        (
            "need",
            (
                "What is it for?", "What's this for?", "What would it be for?", "Who is it for?",
                "What kind of laptop are you after, and what for?", "How will you use it?",
                "What do you want to do with it?", "Where will you use it?", "Who will use it?",
            ),
        ),
        (
            "feature",
            (
                "What is a must-have for you?", "What can't you live without?",
                "Is there anything that you could not do without?", "What should it have?",
                "What comes first for you?", "What do you insist on?", "What would you miss most?",
            ),
        ),
        (
            "budget",
            (
                "How much were you thinking of spending?", "How high can you go?",
                "What would you pay?", "How much can you afford?", "What may it cost?",
            ),
        ),
        (
            "concern",
            (
                "Is something keeping you from it?", "Is it the price?", "Is it just the delivery?",
                "Too expensive?", "What's wrong with it?", "Is there a problem?", "But why?",
                "What speaks against it?", "What would it take?", "How does that sound?",
            ),
        ),
    ],
)  # fmt: skip
def test_questions(topic: str, texts: tuple[str, ...]) -> None:
    for text in texts:
        meaning, again = heard(text)
        assert (meaning.asks, meaning.closes, again) == ((topic,), False, False), text


@pytest.mark.parametrize(
    ("text", "closes"),
    [
        ("Shall we shake on it?", True),
        ("Want it?", True),
        ("So, do you want this one?", True),
        ("Will you take it?", True),
        ("Deal?", True),
        ("Is it a deal?", True),
        ("Do you want more storage?", False),
        ("Do you like it?", False),
        ("I will not ask you to go ahead with it.", False),
        ("You want it for gaming.", False),
    ],
)
def test_offers_to_buy(text: str, closes: bool) -> None:
    meaning, _ = heard(text)
    assert meaning.closes is closes
    assert not (closes and meaning.asks)


@pytest.mark.parametrize(
    ("text", "again"),
    [
        ("Could you say that again?", True),
        ("Pardon?", True),
        ("Sorry?", True),
        ("Would you please repeat that?", True),
        ("What did you say?", True),
        ("Sorry, I did not catch that.", True),
        ("I would say that it is light.", False),
        ("Sorry, it is not.", False),
        ("What?", True),
        ("What matters most to you?", False),
    ],
)
def test_to_ask_for_the_last_words_once_more(text: str, again: bool) -> None:
    meaning, asks_again = heard(text)
    assert asks_again is again
    assert not (again and meaning.asks)


@pytest.mark.parametrize(
    ("text", "yes"),
    [
        ("Yes, it does.", True),
        ("Sorry, that is not included.", False),
        ("Sorry for the wait. Yes, it does.", True),
        ("No problem at all.", False),
        ("Is that a yes?", None),
        ("It is light. No.", False),
        ("It does.", True),
        ("That is included.", True),
        ("I'm afraid it does not.", False),
        ("I'm afraid not.", False),
        ("It doesn't have that.", False),
        ("The Aero lacks that.", False),
        ("No, that it lacks.", False),
        ("That it lacks.", False),
        ("It has a long battery life.", None),
    ],
)
def test_a_yes_and_a_no(text: str, yes: bool | None) -> None:
    assert affirms(text.lower()) is yes
