"""What ``docs/validation.md`` shows is what the code asks and what the stored runs found."""

from __future__ import annotations

from pathlib import Path

import pytest

from convgym.benchmarks.validation.report import overview, read, tell_failures
from convgym.benchmarks.validation.suite import CHECKS

ROOT = Path(__file__).resolve().parents[4]
DOCUMENT = (ROOT / "docs" / "validation.md").read_text(encoding="utf-8")
STORED = ROOT / "benchmarks" / "results" / "validation"
RUNS = sorted(path.parent for path in STORED.glob("*/manifest.json"))


def test_every_check_is_described() -> None:
    for check in CHECKS:
        assert f"| {check.name} | {check.question} |" in DOCUMENT


def test_the_overviews_are_those_of_the_stored_runs() -> None:
    assert RUNS
    runs = {folder.name: read(folder)[1] for folder in RUNS}
    kinds = ("scripted-", "shopper-", "imitation-")
    for kind in (*kinds, ""):
        chosen = {
            name.removeprefix(kind): findings
            for name, findings in runs.items()
            if name.startswith(kind) and (kind or not name.startswith(kinds))
        }
        lines = overview(chosen)
        missing = [line for line in lines if line not in DOCUMENT]
        assert not missing, "\n".join(["not in docs/validation.md:", *lines])


@pytest.mark.parametrize("folder", RUNS, ids=lambda folder: str(folder.name))
def test_what_failed_is_told(folder: Path) -> None:
    lines = tell_failures(folder.name, read(folder)[1])
    missing = [line for line in lines if line not in DOCUMENT]
    assert not missing, "\n".join(["not in docs/validation.md:", *lines])


@pytest.mark.parametrize("folder", RUNS, ids=lambda folder: str(folder.name))
def test_the_stored_runs_were_made_from_committed_code(folder: Path) -> None:
    manifest = read(folder)[0]
    assert manifest["run"]["commit"]["dirty"] is False
    assert (folder / "report.md").exists()
