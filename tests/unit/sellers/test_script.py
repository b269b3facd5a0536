"""Sellers that keep to a script, whatever they hear."""

from __future__ import annotations

import pytest

from convgym.errors import ConvgymError
from convgym.rollout import rollout
from convgym.sellers import make_seller
from convgym.sellers.listening import Act, ShopperKnowledge
from convgym.sellers.script import ScriptedWords, from_rows, to_rows, utterances
from convgym.shop.catalog import catalog_names, load_catalog
from convgym.shop.generator import random_catalog

LAPTOPS = load_catalog("laptops")
SCRIPT = (
    (Act("ask_need"),),
    (Act("recommend", LAPTOPS.product("Aero")), Act("answer_price", None, 9)),
    (Act("close"),),
)


def test_a_script_is_kept_as_plain_data() -> None:
    assert to_rows(SCRIPT)[1] == [["recommend", "Aero", 0], ["answer_price", None, 9]]
    assert from_rows(to_rows(SCRIPT), LAPTOPS) == SCRIPT


def test_everybody_hears_the_same_and_the_last_line_for_ever() -> None:
    lines = utterances(SCRIPT, ShopperKnowledge(LAPTOPS))
    assert "9%" in lines[1] and "Aero" in lines[1]
    episodes = rollout(ScriptedWords("lines", lines), [1, 2], environment={"customer": "shopper"})
    for episode in episodes:
        said = tuple(turn.response.text for turn in episode.turns)
        assert said == (*lines, *lines[-1:] * 9)[: len(said)]


@pytest.mark.parametrize("shop", catalog_names())
def test_the_deaf_seller_has_a_script_for_every_shop(shop: str) -> None:
    seller = make_seller("deaf", shop, "v1")
    assert seller.name == "deaf-v1"
    assert rollout(seller, [3], environment={"customer": "shopper", "catalog": shop})[0].valid


def test_a_shop_that_was_not_searched_has_none() -> None:
    with pytest.raises(ConvgymError, match="no script was searched"):
        make_seller("deaf", random_catalog(0), "v1")
