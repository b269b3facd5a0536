"""Stored runs that are compared with each other: the same before and after a change of the code."""

from __future__ import annotations

from pathlib import Path

from convgym.benchmarks.runs.folder import read_manifest, read_results

LAB = Path(__file__).parents[2] / "benchmarks" / "results" / "lab"


def test_the_new_house_changed_no_purchase() -> None:
    before, after = (LAB / f"2026-11-25-house-{when}" for when in ("before", "after"))
    settings = [read_manifest(folder)["run"] for folder in (before, after)]
    assert [run["commit"]["dirty"] for run in settings] == [False, False]
    assert settings[0]["commit"] != settings[1]["commit"]
    assert settings[0]["suite"].items() <= {**settings[1]["suite"]}.items()
    outcomes = [
        {result.job: result.outcomes for result in read_results(folder)}
        for folder in (before, after)
    ]
    assert len(outcomes[0]) == 11
    assert outcomes[0] == outcomes[1]
