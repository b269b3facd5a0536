"""Shops of one's own: what a file may hold, what is told of a bad one, and that it sells."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from convgym.customers.llm.customer import LLMCustomer
from convgym.customers.scripted.understanding import understanding
from convgym.errors import ConvgymError
from convgym.rollout import rollout
from convgym.sellers import make_seller
from convgym.shop.catalog import Catalog, load_catalog

DOCUMENT = Path(__file__).parents[3] / "docs" / "catalogues.md"


@pytest.fixture(scope="module")
def plain() -> dict[str, Any]:
    found = re.search(r"```json\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL)
    assert found
    shop: dict[str, Any] = json.loads(found[1])
    return shop


@pytest.fixture(scope="module")
def tea(plain: dict[str, Any]) -> Catalog:
    return Catalog.model_validate(plain)


def test_the_shop_of_the_documentation_sells(tea: Catalog) -> None:
    environment = {"catalog": tea, "reveal_latent": True}
    for seller, least in (("competent", 15), ("oracle", 15), ("deaf", 0)):
        episodes = rollout(make_seller(seller, tea), range(40), environment=environment)
        assert sum(episode.converted for episode in episodes) >= least, seller
    said = [turn.response.text for episode in episodes for turn in episode.turns]
    assert any("$7.25" in text for text in said) or any("$9.50" in text for text in said)


def test_products_are_known_by_words_of_their_own(tea: Catalog) -> None:
    known = {product.name: tea.words_of(product) for product in tea.products}
    assert known == {
        "Golden Assam": ("assam",),
        "Golden Dragon": ("dragon",),
        "Moon Rooibos": ("moon", "rooibos"),
    }
    hear = understanding(tea).understand
    assert hear("I recommend the Golden Assam for $9.50.").products == ("Golden Assam",)
    assert hear("The dragon is golden.").products == ("Golden Dragon",)
    assert hear("I recommend the Moon Rooibos.").products == ("Moon Rooibos",)

    class Silent:
        fingerprint = "silent"

        def complete(self, requests: Any) -> Any: ...

        def close(self) -> None: ...

    customer = LLMCustomer(tea, backend=Silent())
    assert customer._named("The Golden Dragon, or Rooibos, the moon?") == [
        "Golden Dragon",
        "Moon Rooibos",
    ]


def test_prices_have_cents_where_they_have_any(tea: Catalog) -> None:
    assert "Golden Assam: $9.50, for morning" in tea.briefing()
    assert "Golden Dragon: $14, for morning" in tea.briefing()
    assert "$9.50 Golden Assam" in tea.leaflet()
    assert type(load_catalog("laptops").products[0].price) is int


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"price": 9.995}, "a price has two decimals at most"),
        ({"price": 0}, "products.0.price"),
        ({"name": "Golden  Assam"}, "products.0.name"),
        ({"name": "Golden"}, "'Golden' has no word of two letters or more that nothing else uses"),
        ({"name": "T 800"}, "'T 800' has no word of two letters or more"),
        ({"needs": ["noon"]}, "'Golden Assam' has an undeclared need 'noon'"),
    ],
)
def test_what_cannot_be_is_told(
    wrong: dict[str, Any], told: str, plain: dict[str, Any], tmp_path: Path
) -> None:
    first, *others = plain["products"]
    path = tmp_path / "shop.json"
    path.write_text(json.dumps({**plain, "products": [{**first, **wrong}, *others]}))
    with pytest.raises(ConvgymError, match=re.escape(told)):
        load_catalog(path)


def test_all_mistakes_are_told_at_once(plain: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "shop.json"
    path.write_text(json.dumps({**plain, "currency": 3, "budget_step": 0, "products": []}))
    with pytest.raises(ConvgymError) as caught:
        load_catalog(path)
    for place in ("at currency: ", "at budget_step: ", "at products: "):
        assert place in str(caught.value)
    assert "\n" not in str(caught.value)
    first, second, third = plain["products"]
    lines = [{**first, "needs": ["noon"]}, {**second, "features": ["cheap"]}, third]
    path = tmp_path / "other.json"
    path.write_text(json.dumps({**plain, "products": lines}))
    with pytest.raises(ConvgymError, match=r"need 'noon'; .* feature 'cheap'"):
        load_catalog(path)
