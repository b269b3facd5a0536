"""Claims compared with the label."""

from __future__ import annotations

import pytest

from convgym.customers.shopper.claims import Claim
from convgym.customers.shopper.figures import Concession, Days, Delivery
from convgym.customers.shopper.truth import contradicts, taken_off, tells_days, tells_feature
from convgym.shop.catalog import load_catalog
from convgym.shop.terms import Terms

AERO = load_catalog("laptops").product("Aero")
"""$700, for gaming, light, with a long battery life."""
TERMS = Terms(days=6, cost=500)


def claim(
    *prices: int,
    product: str | None = None,
    needs: tuple[str, ...] = (),
    features: tuple[str, ...] = (),
    denied: tuple[str, ...] = (),
    days: Days | None = None,
    express: bool = False,
    alone: bool = False,
) -> Claim:
    deliveries = () if days is None else (Delivery(days, express, alone),)
    return Claim(product, prices, needs, features, denied, deliveries)


@pytest.mark.parametrize(
    ("said", "false"),
    [
        (claim(700), False),
        (claim(650), True),
        (claim(needs=("gaming",), features=("weight",), denied=("screen",)), False),
        (claim(needs=("office",)), True),
        (claim(features=("screen",)), True),
        (claim(denied=("weight",)), True),
        (claim(days=(5, 6)), False),
        (claim(days=(0, 8)), False),
        (claim(days=(3, 4)), True),
        (claim(days=(7, 8)), True),
        (claim(days=(2, 3)), True),
        (claim(days=(2, 3), express=True), False),
        (claim(days=(0, 1), express=True), True),
        (claim(days=(0, 1), alone=True), False),
    ],
)
def test_what_is_false(said: Claim, false: bool) -> None:
    assert contradicts(said, AERO, TERMS, bargaining=False, asked=False) is false


def test_what_was_asked_and_what_is_bargained_for_matter() -> None:
    alone, lower = claim(days=(0, 1), alone=True), claim(650)
    assert contradicts(alone, AERO, TERMS, bargaining=False, asked=True)
    assert not contradicts(lower, AERO, TERMS, bargaining=True, asked=False)
    assert contradicts(claim(500), AERO, TERMS, bargaining=True, asked=False)


def test_what_tells_something_of_a_product() -> None:
    assert tells_days([claim(days=(5, 6))], AERO, TERMS, asked=False)
    assert not tells_days([claim(days=(0, 30))], AERO, TERMS, asked=False)
    assert not tells_days([claim(days=(5, 6), product="Boreal")], AERO, TERMS, asked=False)
    assert tells_feature([claim(denied=("screen",))], AERO, "screen")
    assert not tells_feature([claim(features=("weight",))], AERO, "screen")


@pytest.mark.parametrize(
    ("concession", "share"),
    [(Concession(0.05), 0.05), (Concession(None, 70), 0.1), (Concession(), 0.2), (None, 0.2)],
)
def test_what_is_taken_off(concession: Concession | None, share: float) -> None:
    claims = [claim(560), claim(100, product="Boreal")]
    assert taken_off(concession, claims, AERO) == pytest.approx(share)
