"""What of a shop can be read."""

from __future__ import annotations

import pytest

from convgym.envs.scenario import Scenario
from convgym.rollout import rollout
from convgym.sellers import make_seller
from convgym.shop.catalog import catalog_names, load_catalog
from convgym.shop.generator import random_catalog


@pytest.mark.parametrize("name", [*catalog_names(), "random"])
def test_a_leaflet_tells_every_word_and_every_offer(name: str) -> None:
    catalog = random_catalog(0) if name == "random" else load_catalog(name)
    leaflet = catalog.leaflet()
    for topics in (catalog.needs, catalog.features):
        for topic, said in topics.items():
            for word in said.words:
                assert f"{word} {topic}" in leaflet
    for product in catalog.products:
        for need in product.needs:
            for feature in product.features:
                assert f" {need} {feature} ${product.price} {product.name}." in leaflet


def test_a_seller_can_read_the_shop_that_it_is_in() -> None:
    for shop in ("laptops", "mobile"):
        (dialogue,) = Scenario.of({"catalog": shop}).dialogues(1)
        assert dialogue.leaflet == load_catalog(shop).leaflet()
        (episode,) = rollout(make_seller("silent", shop), [1], environment={"catalog": shop})
        assert episode.leaflet == dialogue.leaflet
