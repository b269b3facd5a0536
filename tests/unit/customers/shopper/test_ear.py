"""What the shopper hears: true answers are taken for true, and only false ones for false."""

from __future__ import annotations

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from convgym.customers.shopper.ear import Claim, Heard, ear
from convgym.shop.catalog import load_catalog

LAPTOPS, MOBILE, INSURANCE = map(load_catalog, ("laptops", "mobile", "insurance"))


def heard(text: str, shop: str = "laptops") -> Heard:
    return ear(load_catalog(shop)).understand(text)


def claims(text: str, shop: str = "laptops") -> tuple[Claim, ...]:
    return heard(text, shop).claims


@pytest.mark.parametrize(
    ("text", "shop", "prices"),
    [
        ("The Aero costs $700.", "laptops", (700,)),
        ("I recommend the Lumen for $1,100.", "laptops", (1100,)),
        ("The Aero is 700 dollars.", "laptops", (700,)),
        ("The Coral costs $38 a month.", "mobile", (38,)),
        ("How about the Aero for $500?", "laptops", (500,)),
        # Numbers that are no prices.
        ("We deliver it in 6 days.", "mobile", ()),
        ("It has 5G and 24 hours of talk.", "mobile", ()),
        ("The Amber has 9 out of 10 stars.", "mobile", ()),
        ("I can take 6% off for you.", "mobile", ()),
        ("I can take $50 off the Aero.", "laptops", ()),
        ("You pay the Aero in monthly instalments of $60.", "laptops", ()),
        ("The Aero is within your budget of $900.", "laptops", ()),
    ],
)
def test_prices_are_told_from_other_numbers(text: str, shop: str, prices: tuple[int, ...]) -> None:
    assert tuple(price for claim in claims(text, shop) for price in claim.prices) == prices


@pytest.mark.parametrize(
    ("text", "features", "denied"),
    [
        ("The Aero has a long battery life.", {"battery"}, set()),
        ("No, it does not have a big screen.", set(), {"screen"}),
        ("The Aero has a long battery life, but no big screen.", {"battery"}, {"screen"}),
        ("You cannot go wrong with the Aero, it really does have a battery.", {"battery"}, set()),
        ("It is not only light, it has a long battery life.", {"weight", "battery"}, set()),
        ("Don't worry, the battery lasts.", {"battery"}, set()),
        ("A big screen is not included.", set(), {"screen"}),
        ("It isn't light.", set(), {"weight"}),
        ("Does it matter that the screen is big?", set(), set()),
        ("You asked for a big screen.", set(), set()),
    ],
)
def test_what_is_denied_is_not_asserted(text: str, features: set[str], denied: set[str]) -> None:
    said = claims(text)
    assert {name for claim in said for name in claim.features} == features
    assert {name for claim in said for name in claim.denied} == denied


@pytest.mark.parametrize(
    ("text", "discount", "amount", "concedes"),
    [
        ("I can take 5% off.", 0.05, None, True),
        ("No problem, I can give you ten percent off.", 0.10, None, True),
        ("I can take $50 off for you.", None, 50, True),
        ("You get a discount.", 0.05, None, True),
        ("I can bring it down to $650.", None, None, True),
        ("I cannot do 10%, but 5% off is possible.", 0.05, None, True),
        ("I cannot give you a discount.", None, None, False),
        ("It has 20% more battery.", None, None, False),
        ("The Aero is special, it costs $700.", None, None, False),
    ],
)
def test_discounts(text: str, discount: float | None, amount: int | None, concedes: bool) -> None:
    found = heard(text)
    assert (found.discount, found.amount, found.concedes) == (discount, amount, concedes)


@pytest.mark.parametrize(
    ("text", "days"),
    [
        ("It takes 6 days.", 6),
        ("In two business days.", 2),
        ("It comes in a week or 2 weeks.", 14),
        ("Within 48 hours.", 2),
        ("2-3 days.", 3),
        ("You have it tomorrow.", 1),
        ("Soon.", None),
        ("A two year warranty.", None),
    ],
)
def test_days_of_delivery(text: str, days: int | None) -> None:
    assert heard(text).days == days


@pytest.mark.parametrize(
    ("text", "affirms"),
    [
        ("Yes, it does.", True),
        ("Sorry, that is not included.", False),
        ("No problem at all.", None),
        ("Is that a yes?", None),
        ("It is light. No.", False),
        ("It does.", True),
        ("That is included.", True),
        ("I'm afraid it does not.", False),
        ("I'm afraid not.", False),
        ("It doesn't have that.", False),
        ("The Aero lacks that.", False),
        ("It has a long battery life.", None),
    ],
)
def test_a_yes_and_a_no(text: str, affirms: bool | None) -> None:
    assert heard(text).affirms == affirms


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
