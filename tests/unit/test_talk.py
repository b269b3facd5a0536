"""A conversation that goes on when it is told to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from gymnasium.error import ResetNeeded

from convgym.conversation import Response
from convgym.customers import Customer
from convgym.errors import ConvgymError
from convgym.rollout import rollout
from convgym.sellers import make_seller
from convgym.talk import Talk


@pytest.mark.parametrize("name", ["competent", "habitual"])
@pytest.mark.parametrize("customer", ["scripted", "shopper"])
def test_step_by_step_is_what_a_rollout_is(name: str, customer: str) -> None:
    environment = {"customer": customer, "max_turns": 6}
    expected = rollout(make_seller(name), [5, 9], policy_seed=3, environment=environment)
    for episode in expected:
        seller = make_seller(name)
        seller.reset(3)
        with Talk(episode.seed, environment, policy_seed=3) as talk:
            while talk.outcome is None:
                assert talk.turn == len(talk.messages) // 2
                talk.step(seller)
            assert talk.episode(seller.name) == episode


def test_the_hidden_state_is_there_and_the_seller_does_not_see_it() -> None:
    with Talk(4) as talk, Talk(4, {"reveal_latent": True}) as revealed:
        assert talk.latent["need"] and talk.conversation.latent is None
        assert revealed.conversation.latent == revealed.latent == talk.latent
        talk.hear(Response("What is your budget?"))
        assert talk.conversation.latent is None and talk.latent != revealed.latent


def test_whoever_failed_and_what_is_over(puppet: Callable[[], Customer]) -> None:
    with Talk(1, {"customer": puppet}) as talk:
        talk.hear(Response("fail"))
        assert (talk.outcome, talk.failure) == ("infrastructure_failure", "connection lost")
        assert talk.episode("me").metadata == {"failure": "connection lost"}
        with pytest.raises(ResetNeeded):
            talk.hear(Response("Hello?"))
    with Talk(13, {"customer": puppet}) as talk:
        assert talk.failure == "no connection" and talk.outcome is None
    with Talk(1, {"customer": puppet}) as talk:
        talk.hear(Response("", failure="no model"))
        assert (talk.outcome, talk.failure) == ("seller_failure", "no model")


def test_customers_are_closed_but_for_the_callers_own(puppet: Callable[[], Any]) -> None:
    made: list[Any] = []

    def factory() -> Any:
        made.append(puppet())
        return made[-1]

    with Talk(1, {"customer": factory}):
        pass
    assert made[0].closed == 1
    own = puppet()
    with Talk(1, {"customer": own}):
        pass
    assert own.closed == 0


def test_mistakes() -> None:
    with pytest.raises(ConvgymError, match="max_turns"):
        Talk(1, {"max_turns": 0})
    with pytest.raises(ConvgymError, match="seed"):
        Talk(-1)
