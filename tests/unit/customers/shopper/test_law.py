"""The shopper's utility, in closed form."""

from __future__ import annotations

from dataclasses import replace

import pytest

from convgym.customers.scripted.buying import Temper
from convgym.customers.shopper.law import State, Weights, affordable, fits, suits, utility
from convgym.customers.shopper.profile import Shopper
from convgym.shop.catalog import load_catalog

LAPTOPS = load_catalog("laptops")
AERO = LAPTOPS.product("Aero")  # $700, gaming, weight and battery
SHOPPER = Shopper(
    persona="easy-going", need="gaming", feature="battery", wish="screen", budget=1000, low=800,
    high=1000, objections=(), questions=(), haggle=0.0, mood="neutral", patience=9.0, trust=0.5,
    talkativeness=0.5, price_sensitivity=1.0,
)  # fmt: skip
W = Weights()


def value(profile: Shopper = SHOPPER, discount: float | None = None, **state: object) -> float:
    now = State(patience=9.0, trust=0.5, product=AERO, **state)  # type: ignore[arg-type]
    return utility(profile, now, AERO, W, discount)


SUITABLE = W.base + W.need + W.feature + W.trust * 0.5


def test_what_suits_is_worth_its_need_its_feature_and_trust() -> None:
    assert value() == pytest.approx(SUITABLE)
    assert value(replace(SHOPPER, need="office")) == pytest.approx(SUITABLE - W.need)
    assert value(replace(SHOPPER, feature="screen")) == pytest.approx(SUITABLE - W.feature)


def test_being_asked_pays_only_where_the_product_meets_the_answer() -> None:
    asked = {"need", "feature", "budget"}
    assert value(disclosed=asked) == pytest.approx(SUITABLE + W.understood)
    office = replace(SHOPPER, need="office")
    assert value(office, disclosed=asked) == pytest.approx(SUITABLE - W.need + W.understood * 2 / 3)
    assert fits(SHOPPER, AERO, 0.0, "budget")
    assert not fits(replace(SHOPPER, budget=600), AERO, 0.0, "budget")
    assert fits(replace(SHOPPER, budget=600), AERO, 0.12, "budget")


def test_a_price_above_the_budget_costs_by_its_share() -> None:
    poor = replace(SHOPPER, budget=560, price_sensitivity=2.0)
    assert value(poor) == pytest.approx(SUITABLE - 2 * W.over * (700 / 560 - 1))
    assert value(poor, discount=0.1) == pytest.approx(SUITABLE - 2 * W.over * (630 / 560 - 1))
    rich = replace(SHOPPER, budget=2000)
    assert value(rich) == pytest.approx(SUITABLE - W.cheap * (0.6 - 0.35))
    assert not affordable(poor, AERO, 0.0)
    assert affordable(poor, AERO, 0.12)


def test_reasons_annoyance_and_a_question_that_waits_count_against_it() -> None:
    assert value(raised=["price"], unspoken=["rival", "partner"]) == pytest.approx(
        SUITABLE - W.raised - 2 * W.unspoken
    )
    assert value(annoyance=1.5) == pytest.approx(SUITABLE - 1.5 * W.annoyance)
    assert value(question="spec") == pytest.approx(SUITABLE - W.unanswered)


def test_suitable_is_what_has_need_and_feature() -> None:
    assert suits(SHOPPER, AERO)
    assert not suits(replace(SHOPPER, feature="storage"), AERO)


def test_feelings_add_up_and_trust_stays_between_0_and_1() -> None:
    state = State(patience=5.0, trust=0.1)
    state.feel(Temper(patience=1.0, annoyance=0.5, trust=-0.3))
    assert (state.patience, state.annoyance, state.trust) == (4.0, 0.5, 0.0)
    state.feel(Temper(trust=2.0))
    assert state.trust == 1.0


def test_a_copied_state_goes_on_by_itself() -> None:
    state = State(patience=5.0, trust=0.1, unspoken=["price"])
    copy = state.copy()
    copy.unspoken.pop()
    copy.account.pushes += 1
    copy.heard.add("hello")
    assert (state.unspoken, state.account.pushes, state.heard) == (["price"], 0, set())
