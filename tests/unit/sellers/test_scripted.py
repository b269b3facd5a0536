"""The reference sellers: mistakes, and customers who speak in endless numbers."""

from __future__ import annotations

import random
from typing import Any

import pytest

from convgym.conversation import Message
from convgym.errors import ConvgymError
from convgym.policy import Conversation
from convgym.rollout import rollout
from convgym.seeds import train_seeds
from convgym.sellers import REFERENCE_SELLERS as SELLERS
from convgym.sellers import make_seller
from convgym.shop.catalog import load_catalog


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"spec": "mediocer"}, r"unknown seller 'mediocer'.*did you mean 'mediocre'"),
        ({"spec": "mediocre", "epsilon": "0.1"}, r"epsilon must be a probability in \[0, 1\]"),
        ({"spec": "mediocre", "epsilon": 1.5}, r"epsilon must be a probability in \[0, 1\]"),
        ({"spec": "deaf", "catalog": 3}, "a catalog is given by name or JSON file, got 3"),
    ],
)
def test_mistakes_are_one_line(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConvgymError, match=message):
        make_seller(**options)


@pytest.mark.parametrize("name", [*SELLERS, "deaf"])
@pytest.mark.parametrize("number", ["9" * 6000, "\u00bd" * 6000, "0" * 6000])
def test_customers_who_speak_in_endless_numbers(name: str, number: str) -> None:
    latent = {
        "need": "gaming", "feature": "screen", "budget": 900, "product": None, "patience_left": 5.0,
        "disclosed": [], "raised_objections": [], "unspoken_objections": [],
    }  # fmt: skip
    messages: list[Message] = [{"role": "user", "content": f"My budget is ${number}."}]
    (response,) = make_seller(name).act([Conversation(0, messages, random.Random(0), latent)])
    assert len(response.text) < 200


@pytest.mark.parametrize("customer", ["scripted", "shopper"])
def test_the_oracle_sells_no_other_shops_goods(customer: str) -> None:
    law = "v1" if customer == "shopper" else None
    environment = {"customer": customer, "catalog": "bicycles", "reveal_latent": True}
    with pytest.raises(ConvgymError, match=r"oracle sells the .* 'laptops', and"):
        rollout(make_seller("oracle", law=law), [1], environment=environment)
    (episode,) = rollout(make_seller("oracle", "bicycles", law), [1], environment=environment)
    assert episode.valid


@pytest.mark.parametrize("customer", ["scripted", "shopper"])
def test_the_careless_seller_asks_and_offers_anything_all_the_same(customer: str) -> None:
    law = "v1" if customer == "shopper" else None
    seeds = train_seeds(9, 60)
    held = {
        name: rollout(make_seller(name, law=law), seeds, environment={"customer": customer})
        for name in ("careless", "competent")
    }
    sold = {name: sum(each.converted for each in episodes) for name, episodes in held.items()}
    offered: set[str] = set()
    for episode in held["careless"]:
        said = " ".join(turn.response.text for turn in episode.turns)
        names = [p.name for p in load_catalog("laptops").products if p.name in said]
        assert len(names) <= 1, said  # it keeps to what it offered
        offered.update(names)
    assert sold["careless"] < 0.25 * 60 < 0.6 * 60 < sold["competent"]
    assert len(offered) >= 8
