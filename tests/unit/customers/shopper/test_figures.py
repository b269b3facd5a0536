"""Prices, what is taken off them, and days of delivery, told from other numbers."""

from __future__ import annotations

import pytest

from convgym.customers.shopper.figures import Concession, Prices, concession, deliveries
from convgym.shop.catalog import load_catalog
from convgym.shop.quantities import in_digits


def prices(text: str, shop: str = "laptops") -> tuple[int, ...]:
    named = any(name in text for name in ("Aero", "Amber", "Coral"))
    return Prices(load_catalog(shop)).find(in_digits(text.lower()), named)


@pytest.mark.parametrize(
    ("text", "shop", "found"),
    [
        ("The Aero costs $700.", "laptops", (700,)),
        ("The Aero is 700 dollars.", "laptops", (700,)),
        ("How about the Aero for $1,100?", "laptops", (1100,)),
        ("The Aero for seven hundred bucks.", "laptops", (700,)),
        ("It is $700, $200 below your limit.", "laptops", (700,)),
        ("It is within your budget, it costs $500.", "laptops", (500,)),
        ("They ask $800, we ask $700.", "laptops", (700,)),
        ("The Coral costs $38 a month.", "mobile", (38,)),
        # Somebody else's.
        ("The other shop wants $800 for it.", "laptops", ()),
        ("It costs $800 elsewhere.", "laptops", ()),
        ("Your budget is $900.", "laptops", ()),
        ("You said $900.", "laptops", ()),
        ("The Aero is within your budget of $900.", "laptops", ()),
        # Differences, parts and fees.
        ("That's $350 less than your limit.", "laptops", ()),
        ("It is $300 under what you have.", "laptops", ()),
        ("You save $300.", "laptops", ()),
        ("You pay it in monthly instalments of $300.", "laptops", ()),
        ("It is $300 a month.", "laptops", ()),
        ("The deposit is $300.", "laptops", ()),
        ("I can take $250 off the Aero.", "laptops", ()),
        # Of something else.
        ("We close at 6.", "mobile", ()),
        ("The Amber is for 5 people.", "mobile", ()),
        ("The Amber has 9 out of 10 stars.", "mobile", ()),
        ("It has 5G and 24 hours of talk.", "mobile", ()),
        ("We deliver it in 6 days.", "mobile", ()),
        ("I can take 6% off.", "mobile", ()),
    ],
)
def test_prices_are_told_from_other_numbers(text: str, shop: str, found: tuple[int, ...]) -> None:
    assert prices(text, shop) == found


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("I can take 5% off.", Concession(0.05)),
        ("I can give you ten percent off.", Concession(0.10)),
        ("Take twelve percent off the price.", Concession(0.12)),
        ("The price is 20% lower.", Concession(0.20)),
        ("A 5% price reduction.", Concession(0.05)),
        ("I can take $50 off for you.", Concession(None, 50)),
        ("I lower it by $50.", Concession(None, 50)),
        ("A discount of $50.", Concession(None, 50)),
        ("You get a discount.", Concession(0.05)),
        ("I can bring it down to $650.", Concession()),
        # Read as they are said, possible or not.
        ("0.5% off.", Concession(0.005)),
        ("-10% off.", Concession(-0.10)),
        ("I can give you -10%.", Concession(-0.10)),
        ("1200% off!", Concession(12.0)),
        ("Half price for you.", Concession(0.5)),
        ("It's free today.", Concession(1.0)),
        ("You get it for nothing.", Concession(1.0)),
        ("I give it to you for free.", Concession(1.0)),
        # Nothing is taken off.
        ("I cannot give you a discount.", None),
        ("I cannot do 10%.", None),
        ("It has 20% more battery.", None),
        ("The courier brings it in 3 days instead of 6 days.", None),
        ("It has 20% less weight.", None),
        ("It is special, it costs $700.", None),
        ("That's $150 less than your limit.", None),
        ("The delivery is free.", None),
        ("It comes with free returns.", None),
        ("Feel free to ask.", None),
    ],
)
def test_what_is_taken_off(text: str, found: Concession | None) -> None:
    assert concession([in_digits(text.lower())]) == found


@pytest.mark.parametrize(
    ("text", "days"),
    [
        ("It takes 6 days.", [(5, 6)]),
        ("In 2 days.", [(1, 2)]),
        ("It comes in a week or 2 weeks.", [(6, 8), (13, 15)]),
        ("About 6 days.", [(5, 7)]),
        ("It arrives in 2-3 days.", [(2, 3)]),
        ("Within 48 hours.", [(0, 2)]),
        ("It arrives in no more than 6 days.", [(0, 6)]),
        ("You have it tomorrow.", [(0, 1)]),
        ("Today!", [(0, 0)]),
        ("If you order today it arrives in 6 days.", [(5, 6)]),
        ("8 days by post, or 4 by courier within 4 days.", [(7, 8), (0, 4)]),
        # Nothing is promised.
        ("Soon.", []),
        ("The weather is nice today.", []),
        ("You look great today.", []),
        ("I sold one two days ago.", []),
        ("It came in two days ago.", []),
        ("A two year warranty.", []),
        ("You can return it for 30 days.", []),
        ("It comes with a 30 day trial.", []),
        ("It does not take 8 days.", []),
        ("We ship it tomorrow.", []),
        ("It lasts two days.", []),
        ("We are open every day.", []),
    ],
)
def test_days_of_delivery(text: str, days: list[tuple[int, int]]) -> None:
    assert [time.days for time in deliveries(in_digits(text.lower()))] == days


@pytest.mark.parametrize(
    ("text", "express", "alone"),
    [
        ("By express you have it in 3 days.", True, False),
        ("The courier takes 3 days.", True, False),
        ("It takes 3 days.", False, False),
        ("Three days.", False, True),
        ("I'm afraid about three days.", False, True),
    ],
)
def test_how_a_time_is_told(text: str, express: bool, alone: bool) -> None:
    (time,) = deliveries(in_digits(text.lower()))
    assert (time.express, time.alone) == (express, alone)
