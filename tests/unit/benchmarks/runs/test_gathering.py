"""Runs in several folders, read together: what may differ, and who counts once."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from convgym.benchmarks.report.write import write_report
from convgym.benchmarks.runs.gathering import gather
from convgym.benchmarks.runs.reading import read_results
from convgym.benchmarks.runs.runner import run_suite
from convgym.benchmarks.runs.suites import START, Suite, select
from convgym.errors import ConvgymError
from tests.unit.benchmarks.conftest import World


@pytest.fixture
def parts(tmp_path: Path, suite: Suite, world: World) -> Path:
    """Two runs, each of one of the suite's agents, side by side in a folder."""
    for name in suite.agents:
        run_suite(select(suite, agents=[name]), tmp_path / "runs" / name, parts=world)
    return tmp_path / "runs"


def edit(folder: Path, change: dict[str, Any]) -> None:
    """Change entries of ``run`` in a folder's manifest."""
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text())
    for place, value in change.items():
        *outer, last = place.split(".")
        within = manifest["run"]
        for name in outer:
            within = within[name]
        within[last] = value
    path.write_text(json.dumps(manifest))


def test_two_runs_read_together_are_the_run_of_both(
    parts: Path, tmp_path: Path, suite: Suite, world: World
) -> None:
    run_suite(suite, tmp_path / "whole", parts=world)
    found = gather([parts])
    assert [result.job for result in found.results] == [
        result.job for result in read_results(tmp_path / "whole")
    ]
    assert [result.outcomes for result in found.results] == [
        result.outcomes for result in read_results(tmp_path / "whole")
    ]
    assert list(found.manifests) == [parts / "bc", parts / "online-ppo"]
    assert not found.notes and not found.missing and len(found.curves) == 16
    same = gather([parts / "bc", parts])
    assert same.results == found.results


def test_their_report_lies_beside_them(parts: Path, tmp_path: Path) -> None:
    written = write_report(parts)
    assert written.page == parts / "report.html"
    assert [score.name for score in written.scores] == [
        "silent",
        "competent",
        START,
        "bc",
        "online-ppo",
    ]
    stored = json.loads((parts / "comparisons.json").read_text())
    (pair,) = stored["families"][0]["pairs"]
    assert (pair["a"], pair["b"]) == ("online-ppo", "bc") and pair["seeds"] == [2, 2]
    both = [parts / "bc", parts / "online-ppo"]
    with pytest.raises(ConvgymError, match="needs an --output"):
        write_report(*both)
    elsewhere = write_report(*both, output=tmp_path / "new" / "place", rows=["bc", "competent"])
    assert elsewhere.page.read_text().count("<details") == 8 + 1
    assert [family.name for family in elsewhere.families] == ["the rows asked for"]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"commit": {"id": "0" * 40, "dirty": False}}, "commit.id = 0000"),
        ({"commit": {"id": "x", "dirty": True}, "convgym": "0.1"}, "convgym = 0.1.*commit.id = x"),
        ({"versions": {"python": "3.99"}}, "versions.python = 3.99"),
        ({"content.code": "other"}, "content.code = other"),
        ({"suite.conversations": 41}, "conversations = 41, not 40"),
        ({"content.training": {"customer": "x"}}, "content.training.customer = x"),
    ],
)
def test_runs_that_were_not_made_alike_are_read_together_only_if_asked(
    parts: Path, change: dict[str, Any], told: str
) -> None:
    edit(parts / "online-ppo", change)
    with pytest.raises(ConvgymError, match=f"--mixed.*online-ppo differs from .*bc in .*{told}"):
        gather([parts])
    (note,) = gather([parts], mixed=True).notes
    assert note.startswith("NOT MADE ALIKE: ")
    assert note in write_report(parts, mixed=True).notes


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"content.evaluation": {"customer": "x"}}, "content.evaluation.customer = x"),
        ({"suite.evaluation": {"max_turns": 3}}, "environment.max_turns"),
    ],
)
def test_runs_on_other_customers_are_never_read_together(
    parts: Path, change: dict[str, Any], told: str
) -> None:
    edit(parts / "online-ppo", change)
    with pytest.raises(ConvgymError, match=f"on other customers cannot be compared: .*{told}"):
        gather([parts], mixed=True)


def test_other_evaluation_seeds_are_other_customers(
    parts: Path, suite: Suite, world: World
) -> None:
    run_suite(select(suite, agents=["bc"]), parts / "z", seed=1, parts=world)
    with pytest.raises(ConvgymError, match=r"on other customers .* seed = 1, not 0"):
        gather([parts], mixed=True)


def test_one_agent_and_seed_has_one_outcome(parts: Path, suite: Suite, world: World) -> None:
    run_suite(select(suite, agents=["bc"]), parts / "copy", parts=world)
    assert len(gather([parts]).results) == 7
    path = parts / "copy" / "results.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    for name, told in (("silent", "silent"), ("bc", "bc-seed0")):
        changed = next(line for line in lines if line["name"] == name)
        changed["outcomes"] = changed["outcomes"][::-1]
        changed |= {"conversions": changed["outcomes"].count("p")}
        if name == "silent":
            changed["outcomes"] = "t" * len(changed["outcomes"])
        path.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
        with pytest.raises(ConvgymError, match=f"hold rows of {told} that differ"):
            gather([parts], mixed=name == "bc")
        if name == "silent":
            assert "the latter counts" in gather([parts], mixed=True).notes[0]


def test_who_is_missing_is_told(parts: Path) -> None:
    path = parts / "bc" / "results.jsonl"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))
    assert gather([parts]).missing == ["bc (seed 1)"]


def test_sellers_alone_need_no_budget_in_common(parts: Path, suite: Suite, world: World) -> None:
    sellers = replace(select(suite, agents=[]), conversations=0)
    run_suite(sellers, parts / "sellers", parts=world)
    assert len(gather([parts]).results) == 7


def test_a_folder_without_runs_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConvgymError, match="holds no results"):
        gather([tmp_path])


def test_processor_seconds_beside_an_accelerator_are_left_out(parts: Path) -> None:
    def on(folder: str, accelerator: str | None) -> None:
        path = parts / folder / "manifest.json"
        manifest = json.loads(path.read_text())
        for start in manifest["starts"]:
            start["machine"]["accelerator"] = accelerator
        path.write_text(json.dumps(manifest))

    def seconds() -> dict[str, bool]:
        rows = gather([parts]).results
        return {row.job.name: row.cpu_seconds is not None for row in rows if row.conversations}

    assert seconds() == {"bc": True, "online-ppo": True}
    on("online-ppo", "some GPU")
    assert seconds() == {"bc": True, "online-ppo": False}
    (note,) = gather([parts]).notes
    assert "online-ppo was computed on some GPU" in note
    on("bc", "some GPU")
    assert seconds() == {"bc": True, "online-ppo": True}
    assert not gather([parts]).notes
