"""The scripted customer's ear: acts, paraphrases, typing errors and gibberish."""

from __future__ import annotations

import pickle
import random
import tracemalloc

import pytest

from convgym.customers.scripted.understanding import Meaning, Understanding, understanding
from convgym.shop.catalog import load_catalog
from convgym.shop.language import numbers, tokens

EAR = Understanding(load_catalog("laptops"))


def understand(text: str) -> Meaning:
    return EAR.understand(text)


@pytest.mark.parametrize(
    ("text", "topic"),
    [
        ("What will you use it for?", "need"),
        ("WHAT DO YOU NEED THE LAPTOP FOR", "need"),
        ("Could you tell me what you plan on doing with your new computer?", "need"),
        ("Is it for gaming or for office work?", "need"),
        ("Waht is yuor bugdet?", "budget"),
        ("how much would you like to spend", "budget"),
        ("What price range are you looking at?", "budget"),
        ("What can you afford?", "budget"),
        ("Which feature do you value most?", "feature"),
        ("what is most importnat to you", "feature"),
        ("Do you prefer a light laptop or a big screen?", "feature"),
        ("Is there anything holding you back?", "concern"),
        ("any worries?", "concern"),
        ("Is something stopping you from buying it?", "concern"),
        ("What are you looking for?", "open"),
    ],
)
def test_questions_in_many_words(text: str, topic: str) -> None:
    meaning = understand(text)
    assert meaning.asks == (topic,)
    assert not meaning.closes
    assert meaning.recommends is None


@pytest.mark.parametrize(
    "text",
    [
        "I'd suggest the kestrel",
        "The Kestrl would suit you perfectly.",
        "How about the KESTREL?",
        "Have you considered the Kestrel?",
        "Take a look at the Kestrel!",
    ],
)
def test_recommendations(text: str) -> None:
    assert understand(text).recommends == "Kestrel"
    assert not understand(text).closes


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("Don't worry, it comes with a two-year warranty.", "warranty"),
        ("If it breaks we repair it for free.", "warranty"),
        ("You'll have it in two days, shipping is free.", "delivery"),
        ("I can offer you 10% off.", "price"),
        ("You can pay in monthly instalments.", "price"),
        ("Thousands of customers gave it five stars.", "reviews"),
    ],
)
def test_answers_to_objections(text: str, kind: str) -> None:
    assert understand(text).answers == (kind,)


@pytest.mark.parametrize(
    "text",
    [
        "Would you like to buy it?",
        "shall i order it for you",
        "Do you want to go ahead with the purchase?",
        "Ready to check out?",
        "Would you like to take it?",
        "Let's place the order.",
        "Can I put it in your cart?",
    ],
)
def test_closing(text: str) -> None:
    assert understand(text).closes
    assert not understand(text).pushy


def test_a_command_to_buy_is_pushy() -> None:
    assert understand("Buy it now!").closes
    assert understand("Buy it now!").pushy


@pytest.mark.parametrize(
    "text", ["I can give you a to it max place", "You do not have to buy it.", "Laptop buy good."]
)
def test_no_close_without_a_proposal(text: str) -> None:
    assert not understand(text).closes


def test_claims_are_read_with_the_product() -> None:
    meaning = understand("The Kestrel costs $1,000.50 and has lots of storage.")
    assert meaning.claimed_prices == (1000,)
    assert meaning.claimed_features == ("storage",)


def test_repeating_what_the_customer_said_is_no_claim() -> None:
    meaning = understand("You need it for gaming and your budget is $900. I recommend the Ember.")
    assert meaning.claimed_needs == ()
    assert meaning.claimed_prices == ()
    assert meaning.recommends == "Ember"


@pytest.mark.parametrize("text", ["xq zzkw brrt plof", "buy buy buy buy buy buy buy", "%%%% ####"])
def test_gibberish_is_garbled(text: str) -> None:
    assert understand(text).garbled


def test_unusual_words_are_not_gibberish() -> None:
    assert not understand("Would a matte keyboard please you?").garbled


def test_tokens() -> None:
    assert tokens("It’s $1,200 — café!") == ["it's", "1200", "cafe"]


@pytest.mark.parametrize("word", ["warrantee", "warrnaty", "waranty", "warrantyy", "warranth"])
def test_one_typing_error_is_forgiven(word: str) -> None:
    assert understand(f"It has a {word}.").answers == (() if word == "warrantee" else ("warranty",))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1,200 or 0900 dollars", [1200, 900]),
        ("000", [0]),
        ("no number", []),
        ("9" * 5000, [10**18 - 1]),
        ("0" * 5000 + "7", [7]),
        ("\u00bd" * 1980, [121212121212121212]),
        ("\u2189" * 6000, [303030303030303030]),
    ],
)
def test_numbers_of_any_length_are_read(text: str, expected: list[int]) -> None:
    assert numbers(tokens(text)) == expected


@pytest.mark.parametrize("digits", ["9" * 5000, "\u00bd" * 1980, "1," + "000," * 2000 + "000"])
def test_a_price_of_thousands_of_digits_is_a_false_one(digits: str) -> None:
    (price,) = understand(f"The Kestrel costs {digits}.").claimed_prices
    assert price > 10**16


def test_everybody_shares_the_ear_of_a_catalogue() -> None:
    ear = understanding(load_catalog("laptops"))
    assert understanding(load_catalog("laptops")) is ear
    assert pickle.loads(pickle.dumps(ear)) is ear
    assert understanding(load_catalog("bicycles")) is not ear


@pytest.mark.parametrize("kind", ["long texts", "long words", "numbers", "short texts"])
def test_an_ear_forgets_odd_texts(kind: str) -> None:
    rng = random.Random(0)
    ear = Understanding(load_catalog("laptops"))

    def text() -> str:
        if kind == "long texts":
            return " ".join(f"w{rng.getrandbits(30)}\u00e9" for _ in range(180))
        if kind == "long words":
            return "".join(rng.choices("abcdefgh", k=1500))
        if kind == "numbers":
            return " ".join(str(rng.randrange(900, 10**6)) for _ in range(33))
        return f"{rng.random()} {rng.random()}"

    texts = 3_000 if kind != "short texts" else 20_000
    tracemalloc.start()
    for _ in range(texts):
        ear.understand(text())
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    # Of three thousand texts of 1,500 letters at least 4.5 MB would be held.
    assert held < (3e6 if kind in ("long texts", "long words") else 20e6)
