"""What is asserted and denied of which product, and which product is recommended."""

from __future__ import annotations

import pytest

from convgym.customers.shopper.claims import Claim, Claims
from convgym.shop.catalog import catalog_names, load_catalog
from convgym.shop.language import lexicon
from convgym.shop.quantities import in_digits


def read(text: str, shop: str = "laptops") -> tuple[tuple[Claim, ...], str | None]:
    catalog = load_catalog(shop)
    return Claims(catalog, lexicon(catalog, careful=True)).read(in_digits(text.lower()))


@pytest.mark.parametrize(
    ("text", "features", "denied"),
    [
        ("The Aero has a long battery life.", {"battery"}, set()),
        ("No, it does not have a big screen.", set(), {"screen"}),
        ("No, it has a long battery life.", {"battery"}, set()),
        ("The Aero has a long battery life, but no big screen.", {"battery"}, {"screen"}),
        ("You cannot go wrong with the Aero, it really does have a battery.", {"battery"}, set()),
        ("It is not only light, it has a long battery life.", {"weight", "battery"}, set()),
        ("Why not the Aero, it is light.", {"weight"}, set()),
        ("A big screen is not included.", set(), {"screen"}),
        ("It isn't light.", set(), {"weight"}),
        ("It lacks a big screen.", set(), {"screen"}),
        ("A big screen is missing.", set(), {"screen"}),
        ("It hasn't got lots of storage.", set(), {"storage"}),
        ("It has neither storage nor a screen.", set(), {"storage", "screen"}),
        ("Does it matter that the screen is big?", set(), set()),
        ("You asked for a big screen.", set(), set()),
        ("It has everything but a big screen.", set(), {"screen"}),
        ("A big screen is the one thing that it does not have.", set(), {"screen"}),
        ("A light case is included, a big screen is not.", {"weight"}, {"screen"}),
        ("It is light, storage it lacks.", {"weight"}, {"storage"}),
        ("I see why a big screen would be useful, but it is not part of it.", set(), set()),
        ("Its battery is better than its screen.", {"battery"}, set()),
        # Bad news.
        ("The battery life is short.", set(), {"battery"}),
        ("The battery is rather weak.", set(), {"battery"}),
        ("It has a small screen.", set(), {"screen"}),
        ("The storage is limited.", set(), {"storage"}),
        ("The battery life is not short.", {"battery"}, set()),
        ("It has low weight.", {"weight"}, set()),
        ("In short, the battery lasts.", {"battery"}, set()),
    ],
)
def test_what_is_denied_is_not_asserted(text: str, features: set[str], denied: set[str]) -> None:
    claims, _ = read(text)
    assert {name for claim in claims for name in claim.features} == features
    assert {name for claim in claims for name in claim.denied} == denied


@pytest.mark.parametrize(
    ("shop", "text", "features", "denied"),
    [
        ("mobile", "It has a short contract.", {"freedom"}, set()),
        ("mobile", "It has a long contract.", set(), {"freedom"}),
        ("mobile", "The reception is poor.", set(), {"coverage"}),
        ("insurance", "The deductible is high.", set(), {"excess"}),
        ("insurance", "It has a low deductible.", {"excess"}, set()),
        ("bicycles", "The frame is heavy.", set(), {"weight"}),
        ("bicycles", "No, that it lacks.", set(), set()),
    ],
)
def test_short_and_long_mean_what_the_shop_claims(
    shop: str, text: str, features: set[str], denied: set[str]
) -> None:
    claims, _ = read(text, shop)
    assert {name for claim in claims for name in claim.features} == features
    assert {name for claim in claims for name in claim.denied} == denied


def test_what_is_said_of_each_product_is_told_apart() -> None:
    (aero, boreal), _ = read("The Aero is light and comes in 6 days, the Boreal has a big screen.")
    assert (aero.product, aero.features, len(aero.deliveries)) == ("Aero", ("weight",), 1)
    assert (boreal.product, boreal.features, boreal.deliveries) == ("Boreal", ("screen",), ())
    (claim,), _ = read("Unlike the Boreal, it is light.")
    assert (claim.product, claim.features) == (None, ("weight",))
    (claim,), _ = read("The Aero has a longer battery life than the Boreal.")
    assert (claim.product, claim.features) == ("Aero", ("battery",))


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("I recommend the Aero.", "Aero"),
        ("The Aero is for gaming.", "Aero"),
        ("The Aero and the Boreal are for gaming.", "Aero"),
        ("Forget the Aero, take the Boreal.", "Boreal"),
        ("Not the Aero, the Boreal!", "Boreal"),
        ("Instead of the Aero, I suggest the Boreal.", "Boreal"),
        ("Take the Boreal instead of the Aero.", "Boreal"),
        ("The Boreal is better than the Aero.", "Boreal"),
        ("We have the Aero. I recommend the Boreal.", "Boreal"),
        ("I would choose the Boreal over the Aero.", "Boreal"),
        ("The Aero is nice, but the Boreal would suit you better.", "Boreal"),
        ("How about the Aero? Or rather the Boreal?", "Boreal"),
        ("No, take the Boreal.", "Boreal"),
        ("You cannot go wrong with the Aero.", "Aero"),
        ("Why not take the Aero?", "Aero"),
        ("I do not recommend the Aero.", None),
        ("The Aero is not for you.", None),
        ("The Aero lacks a big screen.", None),
        ("Forget the Aero.", None),
        ("What do you need?", None),
    ],
)
def test_which_product_is_recommended(text: str, name: str | None) -> None:
    assert read(text)[1] == name


ORDINARY_TALK = """
The weather is nice today.
We have a deal.
Is that a deal?
You might like it, right?
There is no risk at all.
It is free of charge.
I sent you a mail last night.
Let me check the list.
Come in, take a seat over there if you like?
It takes two business days to walk down there.
We'll match whatever the shop across the street charges.
The other shop has bad reception and a small screen.
That will not change a thing.
As a member you may test it on a daily basis.
Please sign here at the counter.
Thank you for waiting, I was on a break.
My contact knows the details.
You can trust me, it is a hit.
I will hold your hand.
The team will be glad to help.
I am afraid that I was late.
Eight of ten people come back.
Good question, let me think.
"""
"""What every seller may say without claiming anything of what is sold."""


@pytest.mark.parametrize("shop", catalog_names())
def test_ordinary_talk_claims_nothing(shop: str) -> None:
    for text in ORDINARY_TALK.strip().splitlines():
        claims, recommended = read(text, shop)
        told = [(c.prices, c.needs, c.features, c.denied) for c in claims]
        assert (told, recommended) in (([], None), ([((), (), (), ())], None)), text
