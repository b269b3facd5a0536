"""What the shopper hears: true answers are taken for true, and only false ones for false."""

from __future__ import annotations

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from convgym.customers.shopper.claims import Claim
from convgym.customers.shopper.ear import Heard, ear
from convgym.customers.shopper.figures import Concession
from convgym.shop.catalog import load_catalog

LAPTOPS = load_catalog("laptops")


def heard(text: str, shop: str = "laptops") -> Heard:
    return ear(load_catalog(shop)).understand(text)


def claims(text: str, shop: str = "laptops") -> tuple[Claim, ...]:
    return heard(text, shop).claims


@pytest.mark.parametrize(
    ("text", "shop", "prices"),
    [
        ("The Aero costs $700.", "laptops", (700,)),
        ("I recommend the Lumen for $1,100.", "laptops", (1100,)),
        ("The Coral costs $38 a month.", "mobile", (38,)),
        ("The Aero for seven hundred bucks.", "laptops", (700,)),
        ("The other shop wants $800 for it.", "laptops", ()),
        ("That's $350 less than your limit.", "laptops", ()),
    ],
)
def test_prices(text: str, shop: str, prices: tuple[int, ...]) -> None:
    assert tuple(price for claim in claims(text, shop) for price in claim.prices) == prices


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("No problem, I can give you ten percent off.", Concession(0.10)),
        ("I cannot do 10%, but 5% off is possible.", Concession(0.05)),
        ("The Aero is free today.", Concession(1.0)),
        ("The laptop is free of charge.", Concession(1.0)),
        ("I cannot give you a discount.", None),
        ("The Aero costs $700.", None),
    ],
)
def test_discounts(text: str, told: Concession | None) -> None:
    assert heard(text).concession == told


@pytest.mark.parametrize(
    ("text", "affirms"),
    [("Yes, it does.", True), ("No problem at all.", None), ("No worries, it does.", True)],
)
def test_a_yes_and_a_no(text: str, affirms: bool | None) -> None:
    assert heard(text).affirms == affirms


@pytest.mark.parametrize(
    ("text", "shop"),
    [
        ("No, that it lacks.", "bicycles"),
        ("Is it a deal?", "mobile"),
        ("You might be right.", "laptops"),
        ("I sent it by mail.", "laptops"),
    ],
)
def test_no_plain_word_is_a_slip_of_another(text: str, shop: str) -> None:
    said = heard(text, shop)
    assert (said.claims, said.meaning.products) == ((), ())


def test_a_slip_in_a_long_word_is_put_right() -> None:
    (claim,) = claims("The Aero has a long batery life.")
    assert claim.features == ("battery",)


def test_remedies_of_six_kinds() -> None:
    for text, kind in (
        ("You can pay in monthly installments.", "price"),
        ("It comes with a two year warranty.", "warranty"),
        ("We can send it by express courier.", "delivery"),
        ("It has great reviews.", "reviews"),
        ("Here is a written summary to decide on together.", "partner"),
        ("I can match any competitor.", "rival"),
    ):
        assert kind in heard(text).remedies, text


@pytest.mark.parametrize(
    "text",
    [
        "Is it cheaper elsewhere?",
        "Is it for you or for your wife?",
        "The Aero is a match for you.",
        "We find it together.",
    ],
)
def test_what_is_no_remedy(text: str) -> None:
    assert heard(text).remedies == ()


def test_a_partner_to_be_asked_is_no_feature_of_a_policy() -> None:
    assert claims("The Anchor, in writing for the partner.", "insurance") == ()
    (claim,) = claims("The Anchor includes the whole family.", "insurance")
    assert claim.features == ("family",)


@pytest.mark.parametrize(
    ("text", "foreign"),
    [
        ("The Kestrel is for you.", True),
        ("We have insurance policies.", False),
        ("This laptop is the best of laptops.", True),
        ("There is a generous return policy.", False),
    ],
)
def test_what_belongs_to_another_shop(text: str, foreign: bool) -> None:
    assert heard(text, "insurance").foreign is foreign
    assert not heard("There is a generous return policy.").foreign


@pytest.mark.parametrize(
    ("text", "asks", "closes"),
    [
        ("Shall we shake on it?", (), True),
        ("What is a must-have for you?", ("feature",), False),
        ("How much were you thinking of spending?", ("budget",), False),
        ("What would it be for?", ("need",), False),
        ("Is something keeping you from it?", ("concern",), False),
        ("I will not ask you to go ahead with it.", (), False),
    ],
)
def test_idioms(text: str, asks: tuple[str, ...], closes: bool) -> None:
    meaning = heard(text).meaning
    assert (meaning.asks, meaning.closes) == (asks, closes)


def test_one_ear_for_all_who_share_a_shop() -> None:
    assert pickle.loads(pickle.dumps(ear(LAPTOPS))) is ear(LAPTOPS)


@given(st.text(max_size=80))
def test_any_text_is_heard(text: str) -> None:
    assert isinstance(heard(text, "mobile"), Heard)


@given(
    st.lists(st.sampled_from("no not $ 12 % , . ? but off days aero light costs it yes".split()))
)
def test_any_words_are_heard(words: list[str]) -> None:
    assert isinstance(heard(" ".join(words)), Heard)
