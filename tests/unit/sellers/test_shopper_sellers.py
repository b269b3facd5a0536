"""The reference sellers of v1: their order, and how they are found."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from convgym.conversation import Response
from convgym.errors import ConvgymError
from convgym.policy import Conversation
from convgym.registry import Registry
from convgym.rollout import rollout
from convgym.seeds import train_seeds
from convgym.sellers import SELLERS, make_seller
from convgym.sellers.prompt import seller_prompt

V1 = {"customer": "shopper"}


def test_a_law_gives_a_seller_its_form() -> None:
    assert make_seller("competent", law="v1").name == "competent-v1"
    assert make_seller("silent", law="v1").name == "silent"
    assert make_seller("competent").name == "competent"


def sales(name: str) -> int:
    environment = {**V1, "reveal_latent": name == "oracle"}
    episodes = rollout(make_seller(name, law="v1"), train_seeds(8, 60), environment=environment)
    assert {"false_claims", "discount", "margin"} <= set(episodes[0].metadata)
    if name in ("competent", "oracle"):
        assert sum(episode.metadata["false_claims"] for episode in episodes) == 0
    return sum(episode.converted for episode in episodes)


def test_the_ladder_of_sellers() -> None:
    always_closing, mediocre, competent, oracle = map(
        sales, ("always-closing", "mediocre", "competent", "oracle")
    )
    assert always_closing <= 3
    assert 0.2 * 60 <= mediocre <= 0.5 * 60
    assert 0.65 * 60 <= competent <= oracle
    assert oracle >= 0.85 * 60


def test_the_oracle_needs_the_hidden_state_of_a_shopper() -> None:
    with pytest.raises(ConvgymError, match="reveal_latent"):
        rollout(make_seller("oracle", law="v1"), [1], environment=V1)


def test_epsilon_is_a_probability() -> None:
    with pytest.raises(ConvgymError, match="epsilon"):
        make_seller("mediocre", law="v1", epsilon=2.0)


def test_a_language_model_is_told_of_the_terms(
    restored: Callable[[Registry[Any]], None],
) -> None:
    told = [seller_prompt("laptops", law=law) for law in (None, "v1")]
    assert ["12%" in text for text in told] == [False, True]
    restored(SELLERS)
    SELLERS.register("lawful", Lawful)
    assert make_seller("lawful", law="v1").name == "knows v1"


class Lawful:
    """A seller of somebody's own that asks by which law its customers buy."""

    def __init__(self, law: str | None = None) -> None:
        self.name = f"knows {law}"

    def reset(self, seed: int) -> None:
        """Do nothing."""

    def act(self, conversations: Sequence[Conversation]) -> list[Response]:
        """Say nothing."""
        return [Response("")] * len(conversations)
