"""What ``docs/realism.md`` shows is what the code asks and what the stored runs found."""

from __future__ import annotations

from pathlib import Path

import pytest

from convgym.benchmarks.studies.realism import page
from convgym.benchmarks.validation.realism.report import conclusion, read

ROOT = Path(__file__).resolve().parents[5]
DOCUMENT = (ROOT / "docs" / "realism.md").read_text(encoding="utf-8")
STORED = ROOT / "benchmarks" / "results" / "realism"
RUNS = sorted(path.parent for path in STORED.glob("*/manifest.json"))


def test_what_is_shown_is_that_of_the_stored_runs() -> None:
    assert RUNS
    lines = page(STORED)
    missing = [line for line in lines if line not in DOCUMENT]
    assert not missing, "\n".join(["not in docs/realism.md:", *lines])


@pytest.mark.parametrize("folder", RUNS, ids=lambda folder: str(folder.name))
def test_what_may_be_said_follows_from_the_figures(folder: Path) -> None:
    manifest, concluded, measured = read(folder)
    log = manifest["run"]["reference"]
    assert concluded == conclusion(measured.sections, log and log["log"])


@pytest.mark.parametrize("folder", RUNS, ids=lambda folder: str(folder.name))
def test_the_stored_runs_were_made_from_committed_code(folder: Path) -> None:
    manifest, _, measured = read(folder)
    assert manifest["run"]["commit"]["dirty"] is False and not measured.failures
    assert (folder / "report.md").exists()


def test_every_section_is_described() -> None:
    for section in read(RUNS[0])[2].sections:
        assert f"| {section.name} | {section.question} |" in DOCUMENT
