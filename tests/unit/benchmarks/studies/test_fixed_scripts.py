"""The search for scripts that never listen to a shopper, and what is stored of it."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from convgym.benchmarks.studies.fixed_scripts import MAX_TURNS, Shop, change, climb, first, measure
from convgym.customers.shopper.customer import ShopperCustomer
from convgym.seeds import train_seeds
from convgym.sellers import script as scripts
from convgym.sellers.listening import Act
from convgym.sellers.script import from_rows
from convgym.shop.catalog import catalog_names, load_catalog

ROOT = Path(__file__).resolve().parents[4]
STORED = ROOT / "benchmarks" / "results" / "fixed-scripts"
LAPTOPS = load_catalog("laptops")


def stored(shop: str) -> dict[str, Any]:
    facts: dict[str, Any] = json.loads((STORED / f"{shop}.json").read_text("utf-8"))
    return facts


def test_changed_scripts_stay_scripts() -> None:
    rng = random.Random(0)
    script = first(rng, LAPTOPS)
    for _ in range(200):
        script = change(script, rng, LAPTOPS)
        assert 1 <= len(script) <= MAX_TURNS
        assert all(1 <= len(acts) <= 3 for acts in script)


def test_a_climb_ends_no_lower_than_it_began() -> None:
    shop, seeds = Shop(LAPTOPS), train_seeds(1, 20)
    begun = shop.sales(first(random.Random(4), LAPTOPS), seeds)
    summits = climb(shop, seeds, 8, random.Random(4))
    assert summits[0][0] >= begun
    assert shop.sales(summits[0][1], seeds) == summits[0][0]
    assert shop.sales(((Act("silence"),),), seeds) == 0


def test_what_is_written(tmp_path: Path) -> None:
    measure(tmp_path / "laptops.json", "laptops", scripts=3, screened=5, customers=10)
    written = json.loads((tmp_path / "laptops.json").read_text("utf-8"))
    assert (written["customers"], written["scripts"], written["seed"]) == (10, 3, 0)
    assert written["shops"]["laptops"]["finalists"][0]["sales"] >= 0


@pytest.mark.parametrize("shop", catalog_names())
def test_no_script_sells_to_one_in_ten(shop: str) -> None:
    facts = stored(shop)
    found = facts["shops"][shop]
    assert facts["scripts"] >= 1000
    rates = [row["conversion"][0] for row in found["finalists"]]
    assert rates == sorted(rates, reverse=True)
    assert rates[0] < 0.10
    catalog = load_catalog(shop)
    package = from_rows(scripts.deaf_scripts()[shop], catalog)
    assert package == from_rows(found["finalists"][0]["script"], catalog)


@pytest.mark.parametrize("shop", catalog_names())
def test_the_search_was_for_the_shopper_as_it_is(shop: str) -> None:
    assert stored(shop)["shops"][shop]["customer"] == ShopperCustomer(shop).fingerprint


def test_the_documentation_shows_what_is_stored() -> None:
    text = (ROOT / "docs" / "shopper.md").read_text("utf-8")
    for shop in catalog_names():
        value, low, high = stored(shop)["shops"][shop]["finalists"][0]["conversion"]
        cell = f"{100 * value:.1f} [{100 * low:.1f}, {100 * high:.1f}]"
        assert f"| `{shop}` | {stored(shop)['scripts']:,} | {cell} |" in text


def test_what_is_stored_comes_out_again() -> None:
    found = stored("laptops")["shops"]["laptops"]["finalists"][0]
    few = train_seeds(0, stored("laptops")["customers"])[:100]
    sold = Shop(LAPTOPS).sales(from_rows(found["script"], LAPTOPS), few)
    assert 0 < sold < 25
