"""Write a run's picture and page from its stored files alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich import box
from rich.table import Table

from convgym.benchmarks.report.rows import columns, notes
from convgym.benchmarks.runs.folder import read_manifest, read_results, read_rows
from convgym.benchmarks.runs.scores import Score, scores
from convgym.datafiles import write_atomically


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

    Raises ConvgymError when the folder holds no results or they are damaged.
    """
    from convgym.benchmarks.report.page import page, read_samples
    from convgym.benchmarks.report.plot import learning_curves

    manifest, results = read_manifest(folder), read_results(folder)
    found = scores(results)
    name = "learning_curves.png" if any(score.kind == "agent" for score in found) else "ladder.png"
    content: bytes | None = None
    try:
        content = learning_curves(found, read_rows(folder / "curves.jsonl"))
        write_atomically(folder / name, content)
    except ModuleNotFoundError as error:
        if error.name != "matplotlib":
            raise
    samples = read_samples(folder, [result.job for result in results])
    written = folder / "report.html"
    write_atomically(written, page(manifest, found, content, samples))
    suite = manifest["run"]["suite"]
    sentences = notes(found, suite["evaluation_episodes"])
    if suite.get("evaluation"):  # runs of earlier versions lack it
        changes = ", ".join(f"{name} {value}" for name, value in suite["evaluation"].items())
        sentences.append(f"Judged under other conditions than those of training: {changes}.")
    return Written(found, sentences, written, folder / name if content else None)


def table(found: Sequence[Score]) -> Table:
    """Return the scores as a table for the terminal."""
    shown = Table(box=box.SIMPLE_HEAD)
    headings, rows = columns(found)
    for heading in headings:
        shown.add_column(heading, justify="left" if heading == "seller" else "right", no_wrap=True)
    previous = None
    for score, row in zip(found, rows, strict=True):
        if previous and previous != score.kind:
            shown.add_section()
        shown.add_row(*row, style="bold" if score.kind == "agent" else None)
        previous = score.kind
    return shown
