"""The tables of shops, kinds of customers and their difficulty are those of the data files."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from convgym import datafiles
from convgym.benchmarks.report.rows import columns, percent
from convgym.benchmarks.runs.folder import read_manifest, read_results
from convgym.benchmarks.runs.scores import scores
from convgym.customers import CUSTOMERS
from convgym.customers.personas import Persona, load_personas
from convgym.customers.suggested import Business
from convgym.registry import Registry
from convgym.sellers import REFERENCE_SELLERS
from convgym.shop.catalog import catalog_names, load_catalog

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "benchmarks" / "results"


def document(name: str) -> str:
    return (ROOT / "docs" / name).read_text(encoding="utf-8")


def line(*cells: object) -> str:
    return f"| {' | '.join(map(str, cells))} |"


def span(pair: tuple[float, float]) -> str:
    return f"{pair[0]:g} to {pair[1]:g}"


def manners(persona: Persona) -> str:
    """Return what a persona does otherwise than those of the default population."""
    words = []
    if persona.evades:
        how = "changes the subject" if persona.evasion == "tangent" else "does not answer"
        words.append(f"{how} at {persona.evades:.0%} of questions, once a topic")
    if persona.fragments:
        words.append("speaks in fragments")
    if not persona.buys:
        words.append("never buys")
    return "; ".join(words)


def persona_line(name: str, persona: Persona) -> str:
    return line(
        name,
        f"{persona.share:.0%}",
        span(persona.patience),
        span(persona.trust),
        span(persona.talkativeness),
        span(persona.price_sensitivity),
        " / ".join(f"{share:.0%}" for share in persona.objections),
        manners(persona),
    )


def shop_line(name: str) -> str:
    shop = load_catalog(name)
    prices = [product.price for product in shop.products]
    return line(
        f"`{name}`",
        f"{len(prices)} {shop.items.split(',')[0]}",
        f"{shop.currency}{min(prices):,} to {shop.currency}{max(prices):,}",
        ", ".join(shop.needs),
        ", ".join(shop.features),
        f"{shop.currency}{shop.budget_step}",
        "evaluation only" if shop.held_out else "training and evaluation",
    )


def family_line(shop: str, population: str) -> str:
    found = {s.name: s for s in scores(read_results(RESULTS / "families" / f"{shop}-{population}"))}
    return line(
        f"`{shop}`", population, *(percent(found[name].conversion) for name in REFERENCE_SELLERS)
    )


def code(name: str, language: str = "python") -> list[str]:
    """Return a document's blocks of code."""
    parts = document(name).split(f"```{language}\n")[1:]
    return [part.split("```")[0] for part in parts]


@pytest.mark.parametrize("name", catalog_names())
def test_every_shop_is_described(name: str) -> None:
    assert shop_line(name) in document("customer.md"), shop_line(name)


@pytest.mark.parametrize("population", datafiles.names("personas"))
def test_every_persona_is_described(population: str) -> None:
    text = document("customer.md").split(f"\n`{population}`:")[1].split("\n\n`")[0]
    for name, persona in load_personas(population).personas.items():
        assert persona_line(name, persona) in text, persona_line(name, persona)


@pytest.mark.parametrize("population", datafiles.names("personas"))
@pytest.mark.parametrize("shop", catalog_names())
def test_how_hard_they_are_comes_from_stored_runs(shop: str, population: str) -> None:
    assert family_line(shop, population) in document("customer.md"), family_line(shop, population)
    run = read_manifest(RESULTS / "families" / f"{shop}-{population}")["run"]
    assert run["suite"]["environment"] == {"catalog": shop, "personas": population}
    assert run["commit"]["dirty"] is False


def test_the_example_of_the_suggested_setting_runs_as_shown(
    capsys: pytest.CaptureFixture[str],
) -> None:
    example, rollout = code("suggested_responses.md")
    exec(example, {})
    assert capsys.readouterr().out in document("suggested_responses.md")
    names: dict[str, Any] = {}
    exec(rollout, names)
    kinds = [r["kind"] for e in names["episodes"] for r in e.metadata["suggestions"]]
    assert 0.2 < kinds.count("verbatim") / len(kinds) < 0.4
    assert "scripted-v0" in names["episodes"][0].customer


def test_the_customer_of_the_example_goes_in_by_three_ways(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    restored: Callable[[Registry[Any]], None],
) -> None:
    gardener, ways, *_ = code("own_customer.md")
    class_body = gardener[gardener.index("class") :].rstrip()
    assert len(class_body.splitlines()) <= 22
    restored(CUSTOMERS)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "my_package").mkdir()
    (tmp_path / "my_package" / "customers.py").write_text(gardener)
    names: dict[str, Any] = {}
    exec(gardener, names)
    exec(ways, names)
    env = names["gymnasium"].make("convgym/Sales-v0", customer="gardener", reveal_latent=True)
    _, info = env.reset(seed=0)
    plant = "fern" if info["latent"]["place"] == "shade" else "cactus"
    assert env.step(f"How about a {plant}?")[1] == 1.0
    monkeypatch.delitem(sys.modules, "my_package.customers")
    monkeypatch.delitem(sys.modules, "my_package")


def test_the_suggested_setting_is_described_with_its_figures() -> None:
    text = document("suggested_responses.md")
    for name, field in Business.__dataclass_fields__.items():
        assert f"| `{name}` | {field.default:g} |" in text
    folder = RESULTS / "suggested" / "sellers"
    assert read_manifest(folder)["run"]["commit"]["dirty"] is False
    headings, rows = columns(scores(read_results(folder)))
    for row in (headings, *rows):
        kept = [cell for heading, cell in zip(headings, row, strict=True) if heading != "seconds"]
        assert line(*kept) in text, line(*kept)
