"""The study of what sellers keep where they were not trained, and what is stored of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from convgym.benchmarks.studies.transfer import (
    PLACES,
    agreement,
    main,
    measure,
    row,
    scripted,
)
from convgym.conversation import Episode
from convgym.errors import ConvgymError
from convgym.seeds import evaluation_seeds

ROOT = Path(__file__).resolve().parents[4]


def ended(*outcomes: str) -> list[Episode]:
    return [Episode(i, "", (), outcome, "c", "p") for i, outcome in enumerate(outcomes)]  # type: ignore[arg-type]


def test_rows_and_agreement() -> None:
    one = ended("purchase", "walk_away", "walk_away", "turn_limit")
    assert row(one, seller="x")["sales"] == 1
    assert row(one, seller="x")["conversion"][0] == 0.25
    assert agreement(one, one) == 1.0
    assert agreement(one, ended("purchase", "walk_away", "purchase", "turn_limit")) == 0.75


def test_shops_are_one_game_in_other_words() -> None:
    rows, alike = scripted("competent", evaluation_seeds(5, 60), 5)
    assert len(rows) == 9
    assert len(alike["ended_alike"]) == 6
    assert min(alike["ended_alike"].values()) > 0.9


def test_the_documented_figures_are_those_that_are_stored() -> None:
    stored = json.loads((ROOT / "benchmarks/results/transfer/scripts.json").read_text())
    text = (ROOT / "docs/customer.md").read_text(encoding="utf-8")
    for judgement in stored["scripts"]:
        if judgement["seller"] == "habitual":
            rate = "{:.1f} [{:.1f}, {:.1f}]".format(*(100 * x for x in judgement["conversion"]))
            noise = judgement.get("noise")
            population = judgement.get("personas", f"default, noise {noise}")
            assert f"| `{judgement['catalog']}` | {population} | {rate} |" in text
    alike = {found["seller"]: found["ended_alike"] for found in stored["one_game"]}
    for pair in alike["competent"]:
        shares = (
            f"{100 * alike[name][pair]:.1f}" for name in ("competent", "mediocre", "habitual")
        )
        assert f"| {pair.replace(', ', ' and ')} | {' | '.join(shares)} |" in text


def test_what_is_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "transfer.json"
    measure(
        path,
        sellers=["silent"],
        models=["default"],
        agents=["filtered-bc"],
        conversations=8,
        customers=2,
        temperatures=[0.5],
    )
    written = json.loads(path.read_text())
    assert len(written["scripts"]) == 9
    assert [found["seller"] for found in written["one_game"]] == ["silent"]
    assert [(found["policy"], found["place"]) for found in written["models"]] == [
        (name, place) for name in ("default", "filtered-bc from default") for place in PLACES
    ]
    assert {found["temperature"] for found in written["models"]} == {0.5}
    assert {"time", "commit", "versions"} <= set(written)
    assert "silent" in capsys.readouterr().out


def test_the_command_takes_sellers_and_temperatures(tmp_path: Path) -> None:
    path = tmp_path / "transfer.json"
    main(path, agents="none", customers=1, sellers="none", temperatures="0.5,2")
    written = json.loads(path.read_text())
    assert (written["scripts"], written["one_game"]) == ([], [])
    assert {found["temperature"] for found in written["models"]} == {0.5, 2.0}
    with pytest.raises(ConvgymError, match="numbers, got 'cold'"):
        main(tmp_path / "other.json", temperatures="cold")
