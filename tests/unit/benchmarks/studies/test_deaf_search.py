"""The search for the script of a seller that never listens, and what is stored of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from convgym.benchmarks.studies.deaf_search import best, extend, measure, plans, sales
from convgym.seeds import train_seeds
from convgym.sellers.deaf import SCRIPTS, Script, ask, script_for
from convgym.shop.catalog import catalog_names, load_catalog
from convgym.statistics import wilson_interval

STORED = Path(__file__).resolve().parents[4] / "benchmarks" / "results" / "deaf" / "scripts.json"
LAPTOPS = load_catalog("laptops")
FEW = train_seeds(1, 40)


def test_plans_differ_and_never_say_too_much_at_once() -> None:
    assert len(set(plans())) == len(plans()) > 40
    for plan in plans():
        assert all(1 <= len(kinds) <= 3 for kinds in plan)
        assert sum(kinds.count("recommend") for kinds in plan) == 1
        assert plan[-1] == ("close",)


def test_the_best_come_first_and_of_equals_the_first() -> None:
    silent = [Script((), (("silence",),)), Script((), (("chat",),))]
    good = script_for(LAPTOPS)
    (first, second) = best([*silent, good], LAPTOPS, FEW, 2)
    assert first == (sales(good, LAPTOPS, FEW), good)
    assert second == (0, silent[0])


def test_a_further_product_sells_no_less() -> None:
    script = Script(("Ember",), plans()[0])
    longer = extend(script, LAPTOPS, FEW)
    assert longer.products[:1] == script.products
    assert len(set(longer.products)) == 2
    assert longer.plan[-2:] == (script.plan[-2], ("recommend", "close"))
    assert sales(longer, LAPTOPS, FEW) >= sales(script, LAPTOPS, FEW)


def test_what_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    few = [(*ask("need", "budget"), ("recommend",), ("close",))]
    monkeypatch.setattr("convgym.benchmarks.studies.deaf_search.plans", lambda: few)
    measure(tmp_path / "new", ["bicycles"], screened=10, customers=20)
    written = json.loads((tmp_path / "new" / "scripts.json").read_text())
    assert (written["customers"], written["screened"]) == (20, 10)
    found = written["shops"]["bicycles"]
    assert len(found["one_product"]) == 3
    assert len(found["three_products"]["products"]) == 3
    assert {"time", "commit", "versions", "machine"} <= set(written)


@pytest.mark.parametrize("shop", catalog_names())
def test_the_published_scripts_are_the_best_that_were_found(shop: str) -> None:
    found = json.loads(STORED.read_text())["shops"][shop]
    finalists = [row["sales"] for row in found["one_product"]]
    assert finalists == sorted(finalists, reverse=True)
    best = found["three_products"]
    assert best["sales"] > finalists[0]
    assert list(SCRIPTS[shop].products) == best["products"]
    assert [list(kinds) for kinds in SCRIPTS[shop].plan] == best["plan"]


def test_what_is_stored_comes_out_again() -> None:
    stored = json.loads(STORED.read_text())
    seeds = train_seeds(stored["seed"], stored["customers"])
    found = stored["shops"]["laptops"]["three_products"]
    assert sales(SCRIPTS["laptops"], LAPTOPS, seeds) == found["sales"]


@pytest.mark.parametrize("shop", catalog_names())
def test_the_documentation_shows_what_is_stored(shop: str) -> None:
    found = json.loads(STORED.read_text())["shops"][shop]
    row = f"| `{shop}` "
    for script in (found["three_products"], found["one_product"][0]):
        rate = wilson_interval(script["sales"], 2000)
        value, low, high = (f"{100 * part:.1f}" for part in (rate.value, rate.low, rate.high))
        row += f"| {', '.join(script['products'])} | {value} [{low}, {high}] "
    customers = STORED.parents[3] / "docs" / "customer.md"
    assert f"{row}|" in customers.read_text(encoding="utf-8")


def test_the_readme_names_the_range_that_is_stored() -> None:
    stored = json.loads(STORED.read_text())["shops"].values()
    rates = [100 * shop["three_products"]["conversion"][0] for shop in stored]
    told = f"sells to {min(rates):.0f} to {max(rates):.0f}% in the four shops"
    assert told in (STORED.parents[3] / "README.md").read_text(encoding="utf-8")
