"""Where conversations are held, and who sells there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from convgym.benchmarks.talks.scene import Scene, check_whole
from convgym.conversation import Response
from convgym.customers import Customer
from convgym.errors import InfrastructureError


def test_sellers_are_of_the_shop_and_its_law() -> None:
    scene = Scene({"customer": "shopper", "catalog": "bicycles", "max_turns": 5})
    assert (scene.customer, scene.catalog.name, scene.law) == ("shopper", "bicycles", "v1")
    assert scene.goal == "a purchase, within 5 turns" and "Delivery" in scene.briefing
    assert scene.seller("competent").name == "competent-v1"
    assert Scene({}).seller("competent").name == "competent" and Scene({}).shop == {}


@pytest.mark.parametrize(
    ("environment", "seller", "sees"),
    [
        ({}, "oracle", True),
        ({}, "competent", False),
        ({"customer": "shopper"}, "oracle-v1", True),
    ],
)
def test_oracles_alone_see_the_hidden_state(
    environment: dict[str, Any], seller: str, sees: bool
) -> None:
    with Scene(environment).talk(3, seller) as talk:
        assert (talk.conversation.latent is not None) is sees


def test_a_failure_is_told_with_whose_it_is(puppet: Callable[[], Customer]) -> None:
    with Scene({"customer": puppet}).talk(3, "me") as talk:
        check_whole(talk)
        talk.hear(Response("fail"))
        with pytest.raises(InfrastructureError, match="the customer failed: connection lost"):
            check_whole(talk)
