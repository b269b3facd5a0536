"""Sellers with habits, for shoppers."""

from __future__ import annotations

import random

import pytest

from convgym.errors import ConvgymError
from convgym.rollout import rollout
from convgym.seeds import train_seeds
from convgym.sellers import make_seller
from convgym.sellers.shopper_habits import Habits, habitual

SHOPPERS = {"customer": "shopper"}
BEST = Habits(
    asks=("need", "feature", "budget"),
    dearer=False,
    dodges=False,
    agrees=False,
    favourite=None,
    generous=False,
    hasty=False,
    stubborn=False,
)
LIKELIEST = Habits(
    asks=("need",),
    dearer=True,
    dodges=True,
    agrees=False,
    favourite="warranty",
    generous=False,
    hasty=True,
    stubborn=True,
)


def sales(habits: Habits | None) -> int:
    episodes = rollout(habitual(habits=habits), train_seeds(31, 150), environment=SHOPPERS)
    return sum(episode.converted for episode in episodes)


def test_the_likeliest_of_the_habits_sell_less_than_all_of_them_and_none_much_more() -> None:
    likeliest, drawn, best = map(sales, (LIKELIEST, None, BEST))
    assert 2 * likeliest < drawn < best / 2


def test_habits_are_drawn_with_their_shares() -> None:
    drawn = [Habits.draw(random.Random(seed)) for seed in range(2000)]
    for habit, share in {"dearer": 0.5, "dodges": 0.55, "generous": 0.4, "stubborn": 0.6}.items():
        assert sum(getattr(each, habit) for each in drawn) / 2000 == pytest.approx(share, abs=0.04)
    assert sum("budget" not in each.asks for each in drawn) / 2000 == pytest.approx(0.5, abs=0.04)


def test_a_conversation_keeps_its_seller_and_another_seed_brings_another() -> None:
    seller = make_seller("habitual", law="v1")
    assert seller.name == "habitual-v1"
    seeds = train_seeds(32, 20)
    said = [
        [
            turn.response.text
            for e in rollout(seller, seeds, environment=SHOPPERS, policy_seed=s)
            for turn in e.turns
        ]
        for s in (1, 1, 2)
    ]
    assert said[0] == said[1] != said[2]


def test_mistakes_are_told() -> None:
    with pytest.raises(ConvgymError, match="habits must be Habits"):
        habitual(habits="lazy")  # type: ignore[arg-type]
    with pytest.raises(ConvgymError, match="slips"):
        habitual(slips=2)
