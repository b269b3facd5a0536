"""Write a run's picture and page from its stored files alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich import box
from rich.table import Table
from rich.text import Text

from convgym.benchmarks.report.frontier import frontier, series
from convgym.benchmarks.report.notes import notes
from convgym.benchmarks.report.page import page, read_samples
from convgym.benchmarks.report.plot import learning_curves
from convgym.benchmarks.report.rows import PAIR_HEADINGS, columns, pair_cells
from convgym.benchmarks.runs.gathering import Gathered, gather
from convgym.benchmarks.runs.pairs import METHOD, Family, families, to_json
from convgym.benchmarks.runs.scores import Score, scores
from convgym.datafiles import write_atomically, write_json
from convgym.errors import ConvgymError

SHOWN_PAIRS = 5
"""Comparisons with the best row that the terminal shows; page and file hold all."""


@dataclass(frozen=True)
class Written:
    """What ``write_report`` left; ``picture`` is None when matplotlib is not installed."""

    scores: list[Score]
    notes: list[str]
    families: list[Family]
    page: Path
    picture: Path | None
    comparisons: Path | None


def write_report(
    *paths: Path,
    output: Path | None = None,
    mixed: bool = False,
    rows: Sequence[str] | None = None,
) -> Written:
    """Write the picture, ``report.html`` and ``comparisons.json`` of one or more runs.

    The picture is ``learning_curves.png``, ``frontier.png`` of agents at several numbers of
    deployments, or ``ladder.png`` of a run without agents.

    Args:
        paths: results folders, and folders of results folders, see ``gather``.
        output: where to, if not into the one folder that is given.
        mixed: read runs together that were not made alike.
        rows: names or patterns of the rows to compare, in place of all agents.

    Raises:
        ConvgymError: when there are no results, they are damaged or cannot be read together, or
            the folder cannot be written.
    """
    folder = output or paths[0]
    if len(paths) > 1 and output is None:
        raise ConvgymError("a report of several folders needs an --output of its own")
    try:
        run = gather(paths, mixed=mixed)
        folder.mkdir(parents=True, exist_ok=True)
        return _write(folder, run, families(run.results, rows))
    except OSError as error:
        raise ConvgymError(f"cannot write the report into {folder}: {error.strerror}") from None


def _write(folder: Path, run: Gathered, compared: list[Family]) -> Written:
    manifests = list(run.manifests.values())
    suite = manifests[0]["run"]["suite"]
    ranking = scores(run.results)
    # Runs of earlier versions lack the evaluation's own conditions.
    judged = notes(ranking, suite["evaluation_episodes"], suite.get("evaluation"), run.missing)
    sentences = [*run.notes, *judged]
    picture = _picture(folder, run, ranking)
    samples = [sample for place, jobs in run.jobs.items() for sample in read_samples(place, jobs)]
    path = folder / "report.html"
    content = picture.read_bytes() if picture else None
    write_atomically(path, page(manifests, ranking, sentences, content, samples, compared))
    comparisons = folder / "comparisons.json" if compared else None
    if comparisons:
        told = {"method": METHOD, "families": [to_json(family) for family in compared]}
        write_json(comparisons, told)
    return Written(ranking, sentences, compared, path, picture, comparisons)


def _picture(folder: Path, run: Gathered, ranking: Sequence[Score]) -> Path | None:
    """Write the picture and return where, or None without matplotlib."""
    try:
        if series(ranking):
            name, content = "frontier.png", frontier(ranking, run.results)
        else:
            learnt = any(score.kind == "agent" for score in ranking)
            name = "learning_curves.png" if learnt else "ladder.png"
            content = learning_curves(ranking, run.curves)
    except ModuleNotFoundError as error:
        if error.name != "matplotlib":
            raise
        return None
    write_atomically(folder / name, content)
    return folder / name


def pairs_table(family: Family) -> Table:
    """Return the best row's comparisons with those next to it, for the terminal."""
    title = f"{family.name}: the best beside the next"
    shown = Table(box=box.SIMPLE_HEAD, title=Text(title), title_justify="left")
    for number, heading in enumerate(PAIR_HEADINGS):
        shown.add_column(heading, justify="left" if number < 2 else "right", no_wrap=True)
    for pair in family.pairs[:SHOWN_PAIRS]:
        if pair.a == family.pairs[0].a:
            shown.add_row(*map(Text, pair_cells(pair)))
    return shown


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
