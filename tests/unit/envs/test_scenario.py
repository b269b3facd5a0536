from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from convgym.customers import Customer
from convgym.customers.scripted.customer import ScriptedCustomer
from convgym.envs.scenario import Scenario
from convgym.errors import ConvgymError
from convgym.shop.catalog import load_catalog


def test_unknown_options_are_named() -> None:
    with pytest.raises(ConvgymError, match=r"environment option 'catalogue'.*mean 'catalog'"):
        Scenario.of({"catalogue": "laptops"})


@pytest.mark.parametrize("turns", [0, -1, 1.5, "3", True])
def test_max_turns(turns: Any) -> None:
    with pytest.raises(ConvgymError, match="max_turns must be an integer from 1 upwards, got"):
        Scenario(max_turns=turns)


def test_options_reach_the_customer_only_if_given(puppet: Callable[[], Customer]) -> None:
    assert len(Scenario(customer=puppet).dialogues(2)) == 2
    with pytest.raises(ConvgymError, match="'persona'"):
        Scenario(customer=puppet, persona="student").dialogues(1)
    with pytest.raises(ConvgymError, match="patience"):
        Scenario(patience=-1).dialogues(1)


def test_one_customer_holds_one_conversation(puppet: Callable[[], Customer]) -> None:
    customer = puppet()
    (dialogue,) = Scenario(customer=customer).dialogues(1)
    assert dialogue.customer is customer
    for spec in (customer, lambda: customer):
        with pytest.raises(ConvgymError, match="2 conversations at once need a customer each"):
            Scenario(customer=spec).dialogues(2)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"customer_options": ["model"]}, "customer_options must be options by name, got"),
        ({"customer_options": {3: "model"}}, "customer_options must be options by name, got"),
        (
            {"customer_options": {"patience": 3}, "patience": 4},
            "'patience' is given twice, also in customer_options",
        ),
    ],
)
def test_bad_customer_options(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConvgymError, match=message):
        Scenario(**options)


def test_customer_options_that_the_customer_does_not_know() -> None:
    with pytest.raises(ConvgymError, match=r"cannot make customer ScriptedCustomer.*'model'"):
        Scenario(customer_options={"model": "tiny"}).dialogues(1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_turns": "12"}, "max_turns must be an integer from 1 upwards, got '12'"),
        ({"patience": "3"}, "patience must be a positive number of turns, got '3'"),
        ({"patience": math.nan}, "patience must be a positive number of turns, got nan"),
        ({"customer_options": {"patience": "3"}}, "patience must be a positive number of turns"),
        ({"catalog": 3}, "a catalog is given by name or JSON file, got 3"),
        ({"catalog": {"name": "laptops"}}, "a catalog is given by name or JSON file, got {"),
        ({"personas": 3}, "a population of personas is given by name or JSON file, got 3"),
        ({"persona": ["student"]}, r"unknown persona \['student'\]"),
        ({"persona": 3}, "unknown persona 3"),
        ({"reveal_latent": "yes"}, "reveal_latent must be True or False, got 'yes'"),
        ({"customer": 3}, "is no customer"),
        ({"customer": None}, "is no customer"),
        ({"customer": "llm"}, "needs a model: give its name"),
        ({"customer": "hybrid"}, "needs a model: give its name"),
        (
            {"customer": "suggested", "customer_options": {"business": {"verbatim": "0.6"}}},
            "a business's verbatim must be a number, got '0.6'",
        ),
        (
            {"customer": "suggested", "customer_options": {"business": "kind"}},
            "business must be a Business or its fields, got 'kind'",
        ),
        (
            {"customer": "suggested", "customer_options": {"speaker": 3}},
            "speaker must be a seller's name or a callable, got 3",
        ),
        ({"customer": "replay", "customer_options": {"log": 3}}, "log must be .*episodes, got 3"),
        (
            {"customer": "replay", "customer_options": {"log": [], "index": "1"}},
            "index must be an integer from 0 upwards, got '1'",
        ),
    ],
)
def test_wrong_kinds_of_values_are_one_line(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConvgymError, match=message) as caught:
        Scenario(**options).dialogues(1)
    assert "\n" not in str(caught.value)


def test_numpy_numbers_are_taken_as_pythons() -> None:
    options: dict[str, Any] = {"max_turns": np.int64(3), "patience": np.float64(3)}
    (mine,) = Scenario(**options, reveal_latent=np.bool_(True)).dialogues(1)  # type: ignore[arg-type]
    (expected,) = Scenario(max_turns=3, patience=3.0).dialogues(1)
    assert mine.customer.fingerprint == expected.customer.fingerprint
    assert type(mine.max_turns) is int


def test_the_shop_is_the_one_asked_for_or_the_one_that_a_customer_brings(
    puppet: Callable[[], Customer],
) -> None:
    class Cyclist(ScriptedCustomer):
        def __init__(self) -> None:
            super().__init__("bicycles")

    brought = Scenario(customer=Cyclist).shop()
    assert brought == load_catalog("bicycles")
    assert Scenario(customer="suggested", catalog="mobile").shop() == "mobile"
    assert Scenario().shop() is None
    assert Scenario(customer=puppet).shop() is None
