"""What a shop sells on."""

from __future__ import annotations

import pytest

from convgym.shop.catalog import catalog_names, load_catalog
from convgym.shop.generator import random_catalog
from convgym.shop.terms import MOST_DISCOUNT, briefing, discounted, terms_of

SHOPS = [*map(load_catalog, catalog_names()), random_catalog(3)]


@pytest.mark.parametrize("shop", SHOPS, ids=lambda shop: str(shop.name))
def test_no_discount_that_is_allowed_sells_below_cost(shop: object) -> None:
    catalog = load_catalog(shop)  # type: ignore[arg-type]
    for product in catalog.products:
        terms = terms_of(catalog)[product.name]
        assert terms.days in (2, 4, 6, 8)
        assert 0.7 * product.price - 1 < terms.cost <= 0.8 * product.price
        assert terms.margin(discounted(product, MOST_DISCOUNT)) > 0
        assert terms.margin(product.price) == product.price - terms.cost


def test_days_go_with_neither_price_nor_need() -> None:
    catalog = load_catalog("laptops")
    days = {product.name: terms_of(catalog)[product.name].days for product in catalog.products}
    for need in catalog.needs:
        assert len({days[p.name] for p in catalog.products if need in p.needs}) > 1


def test_the_briefing_says_what_a_seller_must_know() -> None:
    catalog = load_catalog("insurance")
    told = briefing(catalog)
    assert catalog.briefing() in told
    assert f"Anchor {terms_of(catalog)['Anchor'].days} days" in told
    for offer in ("12%", "express", "instalments", "in writing", "warranty", "across the street"):
        assert offer in told
