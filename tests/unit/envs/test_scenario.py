from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from convgym.customers import Customer
from convgym.envs.scenario import Scenario
from convgym.errors import ConvgymError


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
