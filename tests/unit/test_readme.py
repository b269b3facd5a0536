"""Every figure in the README comes from a stored run."""

from __future__ import annotations

from pathlib import Path

import pytest

from convgym.benchmarks.report.rows import columns
from convgym.benchmarks.runs.folder import read_manifest, read_results
from convgym.benchmarks.runs.scores import scores

ROOT = Path(__file__).parents[2]
RUNS = sorted(folder.parent for folder in (ROOT / "benchmarks/results").glob("*/manifest.json"))


def rows(folder: Path) -> list[str]:
    """Return a run's table as lines of Markdown."""
    headings, cells = columns(scores(read_results(folder)))
    return [f"| {' | '.join(row)} |" for row in (headings, *cells)]


def test_there_are_runs() -> None:
    assert RUNS


@pytest.mark.parametrize("folder", RUNS, ids=lambda folder: str(folder.name))
def test_the_tables_are_those_of_the_stored_runs(folder: Path) -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    missing = [row for row in rows(folder) if row not in text]
    assert not missing, "\n".join(["not in README.md:", *rows(folder)])


@pytest.mark.parametrize("folder", RUNS, ids=lambda folder: str(folder.name))
def test_the_stored_runs_were_made_from_committed_code(folder: Path) -> None:
    assert read_manifest(folder)["run"]["commit"]["dirty"] is False
