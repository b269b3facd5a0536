"""What the documentation shows of the shopper is what the code does and what is stored."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from convgym import datafiles
from convgym.benchmarks.report.rows import CONDUCT, columns, percent
from convgym.benchmarks.runs.folder import read_manifest, read_results
from convgym.benchmarks.runs.scores import Score, scores
from convgym.benchmarks.studies.shopper_transcripts import page
from convgym.customers.shopper.law import Weights
from convgym.customers.shopper.profile import OBJECTIONS, QUESTIONS
from convgym.sellers import REFERENCE_SELLERS
from convgym.shop.catalog import catalog_names

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "benchmarks" / "results"
DOCUMENT = (ROOT / "docs" / "shopper.md").read_text(encoding="utf-8")
FAMILIES = [(shop, kind) for kind in datafiles.names("personas") for shop in catalog_names()]


def line(*cells: object) -> str:
    return f"| {' | '.join(map(str, cells))} |"


def ladder(shop: str, population: str) -> dict[str, Score]:
    folder = RESULTS / "shoppers" / f"{shop}-{population}"
    return {score.name: score for score in scores(read_results(folder))}


def family_line(shop: str, population: str) -> str:
    rates = ladder(shop, population)
    return line(
        f"`{shop}`", population, *(percent(rates[name].conversion) for name in REFERENCE_SELLERS)
    )


def conduct_lines() -> list[str]:
    headings, rows = columns(list(ladder("laptops", "default").values()))
    kept = [headings.index(name) for name in ("seller", "turns", *CONDUCT)]
    table = [line(*(row[place] for place in kept)) for row in (headings, *rows)]
    return [table[0], f"|{'---|' * len(kept)}", *table[1:]]


def words() -> dict[str, dict[str, Any]]:
    stored = json.loads((RESULTS / "shopper-words.json").read_text("utf-8"))
    shops: dict[str, dict[str, Any]] = stored["shops"]
    return shops


def words_line(shop: str) -> str:
    v0, v1 = (words()[shop][name] for name in ("scripted", "shopper"))
    cells = [(f"{law['templates']:,}", f"{100 * law['share']:.0f}%") for law in (v0, v1)]
    return line(f"`{shop}`", *cells[0], *cells[1])


def speeds() -> dict[str, int]:
    stored = json.loads((RESULTS / "shopper-speed.json").read_text("utf-8"))
    told: dict[str, int] = stored["turns_per_second"]
    return told


@pytest.mark.parametrize(("shop", "population"), FAMILIES)
def test_how_hard_they_are_comes_from_stored_runs(shop: str, population: str) -> None:
    assert family_line(shop, population) in DOCUMENT, family_line(shop, population)
    run = read_manifest(RESULTS / "shoppers" / f"{shop}-{population}")["run"]
    options = {"customer": "shopper", "catalog": shop, "personas": population}
    assert run["suite"]["environment"] == options
    assert run["commit"]["dirty"] is False


@pytest.mark.parametrize("shop", catalog_names())
def test_the_ladder_is_where_it_should_be(shop: str) -> None:
    rates = {name: score.conversion.value for name, score in ladder(shop, "default").items()}
    assert max(rates["silent"], rates["random"], rates["always-closing"]) < 0.03
    assert 0.25 < rates["mediocre"] < 0.45
    assert 0.70 < rates["competent"] < 0.85
    assert rates["oracle"] > 0.90


def test_the_conduct_of_sellers_comes_from_stored_runs() -> None:
    assert "\n".join(conduct_lines()) in DOCUMENT, "\n".join(conduct_lines())


@pytest.mark.parametrize("shop", catalog_names())
def test_the_spread_of_words_comes_from_a_stored_study(shop: str) -> None:
    assert words_line(shop) in DOCUMENT, words_line(shop)
    v0, v1 = (words()[shop][name] for name in ("scripted", "shopper"))
    assert v1["templates"] >= 10 * v0["templates"]
    assert v1["share"] < v0["share"]


def test_the_speed_comes_from_a_stored_study() -> None:
    same, new = (
        speeds()[name] for name in ("convgym shopper", "convgym shopper, no utterance twice")
    )
    assert f"{same:,} turns a second on one core" in DOCUMENT
    assert f"{new:,} where no utterance comes twice" in DOCUMENT
    assert same > 20_000


def test_the_law_is_the_codes() -> None:
    w = Weights()
    for told in (
        f"u = {w.base} + {w.need} [made for my need] + {w.feature} [has my feature]",
        f"+ {w.understood} (topics I was asked about and that it meets) / 3 + {w.trust} trust",
        f"- {w.annoyance} annoyance",
        f"({w.over:g} max(0, price / budget - 1) + {w.cheap:g} max(0, 0.6 - price / budget))",
        f"- {w.raised} (open reasons) - {w.unspoken} (reasons not yet spoken)",
        f"- {w.unanswered} [a question of mine waits]",
    ):
        assert told in DOCUMENT, told


def test_the_profile_is_the_codes() -> None:
    assert f"of {', '.join(OBJECTIONS)} |" in DOCUMENT
    assert f"none, one or two of {', '.join(QUESTIONS)}:" in DOCUMENT


def test_the_transcripts_are_what_is_said() -> None:
    stored = (ROOT / "docs" / "shopper_transcripts.md").read_text(encoding="utf-8")
    assert stored == page(), "convgym study shopper-transcripts writes it anew"
