from __future__ import annotations

import pytest

from convgym.conversation import Episode
from convgym.errors import ConvgymError
from convgym.rollout import rollout
from convgym.seeds import train_seeds
from convgym.sellers import REFERENCE_SELLERS as SELLERS
from convgym.sellers import make_seller
from convgym.sellers.deaf import SCRIPTS, Script, script_for
from convgym.shop.catalog import catalog_names, load_catalog


def said_in(episode: Episode) -> list[str]:
    return [turn.response.text for turn in episode.turns]


def test_a_script_says_its_last_turn_for_ever() -> None:
    script = Script(("A", "B"), (("recommend",), ("answer_price", "recommend"), ("close",)))
    assert script.acts(0) == [("recommend", "A")]
    assert script.acts(1) == [("answer_price", None), ("recommend", "B")]
    assert script.acts(2) == script.acts(99) == [("close", None)]


@pytest.mark.parametrize("shop", catalog_names())
def test_every_shop_has_a_script(shop: str) -> None:
    catalog = load_catalog(shop)
    script = script_for(catalog)
    assert script is SCRIPTS[shop]
    offers = sum(kinds.count("recommend") for kinds in script.plan)
    assert len(set(script.products)) == len(script.products) == offers
    for product in script.products:
        catalog.product(product)


def test_another_shop_gets_what_suits_most_wishes() -> None:
    catalog = load_catalog("laptops").model_copy(update={"name": "elsewhere"})
    chosen = [catalog.product(name) for name in script_for(catalog).products]
    others = [product for product in catalog.products if product not in chosen]
    fewest = min(len(product.needs) * len(product.features) for product in chosen)
    assert all(len(product.needs) * len(product.features) <= fewest for product in others)
    assert rollout(make_seller("deaf", catalog), [1], environment={"catalog": catalog})[0].turns


def test_it_does_not_listen() -> None:
    episodes = rollout(make_seller("deaf"), range(30))
    products = {product.name for product in load_catalog("laptops").products}
    for turn in range(3):
        said = {episode.turns[turn].response.text for episode in episodes if len(episode.turns) > 3}
        assert len(said) <= 3  # the phrases for one question
    words = " ".join(text for episode in episodes for text in said_in(episode))
    named = {product for product in products if product in words}
    assert named == set(SCRIPTS["laptops"].products)


def test_it_is_no_part_of_the_ladder_unless_asked_for() -> None:
    assert "deaf" not in SELLERS
    assert make_seller("deaf").name == "deaf"


def test_a_script_for_another_shop_is_refused() -> None:
    with pytest.raises(ConvgymError, match="unknown product 'Kestrel'"):
        make_seller("deaf", "bicycles", script=Script(("Kestrel",), (("recommend",),)))


@pytest.mark.parametrize("shop", catalog_names())
def test_it_sells_more_than_closing_and_less_than_listening(shop: str) -> None:
    seeds = train_seeds(5, 600)  # others than the scripts were chosen on

    def rate(name: str) -> float:
        episodes = rollout(make_seller(name, shop), seeds, environment={"catalog": shop})
        return sum(episode.converted for episode in episodes) / len(seeds)

    assert rate("always-closing") + 0.15 < rate("deaf") < rate("mediocre") - 0.05
