"""Write a run's picture and page from its stored files alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich import box
from rich.table import Table
from rich.text import Text

from convgym.benchmarks.report.notes import notes
from convgym.benchmarks.report.page import page, read_samples
from convgym.benchmarks.report.plot import learning_curves
from convgym.benchmarks.report.rows import columns
from convgym.benchmarks.runs.reading import (
    missing_rows,
    read_curves,
    read_run,
)
from convgym.benchmarks.runs.scores import Score, scores
from convgym.datafiles import write_atomically
from convgym.errors import ConvgymError


@dataclass(frozen=True)
class Written:
    """What ``write_report`` left; ``picture`` is None when matplotlib is not installed."""

    scores: list[Score]
    notes: list[str]
    page: Path
    picture: Path | None


def write_report(folder: Path) -> Written:
    """Write the picture and ``report.html`` into a results folder.

    The picture is ``learning_curves.png``, or ``ladder.png`` of a run without agents.

    Raises ConvgymError when the folder holds no results, they are damaged, or the folder cannot
    be written.
    """
    try:
        return _write(folder)
    except OSError as error:
        raise ConvgymError(f"cannot write the report into {folder}: {error.strerror}") from None


def _write(folder: Path) -> Written:
    manifest, results = read_run(folder)
    suite = manifest["run"]["suite"]
    ranking = scores(results)
    # Runs of earlier versions lack the evaluation's own conditions.
    sentences = notes(
        ranking,
        suite["evaluation_episodes"],
        suite.get("evaluation"),
        missing_rows(manifest, results),
    )
    picture = _picture(folder, ranking)
    samples = read_samples(folder, [result.job for result in results])
    path = folder / "report.html"
    content = picture.read_bytes() if picture else None
    write_atomically(path, page(manifest, ranking, sentences, content, samples))
    return Written(ranking, sentences, path, picture)


def _picture(folder: Path, ranking: Sequence[Score]) -> Path | None:
    """Write the picture and return where, or None without matplotlib."""
    learnt = any(score.kind == "agent" for score in ranking)
    path = folder / ("learning_curves.png" if learnt else "ladder.png")
    try:
        content = learning_curves(ranking, read_curves(folder))
    except ModuleNotFoundError as error:
        if error.name != "matplotlib":
            raise
        return None
    write_atomically(path, content)
    return path


def table(scores: Sequence[Score]) -> Table:
    """Return the scores as a table for the terminal."""
    shown = Table(box=box.SIMPLE_HEAD)
    headings, rows = columns(scores)
    for heading in headings:
        shown.add_column(heading, justify="left" if heading == "seller" else "right", no_wrap=True)
    previous = None
    for score, row in zip(scores, rows, strict=True):
        if previous and previous != score.kind:
            shown.add_section()
        shown.add_row(*map(Text, row), style="bold" if score.kind == "agent" else None)
        previous = score.kind
    return shown
