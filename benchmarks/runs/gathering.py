"""Runs of one comparison that stand in several folders, read together.

A run is a folder, and who wants two processes to work side by side makes two. What they found is
one comparison as long as everybody was judged on the same customers, and made by the same code.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from convgym.benchmarks.runs.identity import differences, judging, making
from convgym.benchmarks.runs.reading import missing_rows, read_curves, read_run
from convgym.benchmarks.runs.result import Result
from convgym.benchmarks.runs.suites import Job
from convgym.errors import ConvgymError

_KINDS = ("seller", "start", "agent")
Runs = Mapping[Path, tuple[dict[str, Any], list[Result]]]
"""Manifests and rows of runs, by their folders."""


@dataclass(frozen=True)
class Gathered:
    """The rows of one or more folders.

    ``manifests`` stand by their folders, ``jobs`` are those whose row each gave. ``results`` are
    sellers, starts and agents in this order. ``missing`` tells who has no row, ``notes`` in what
    the runs differ. ``curves`` are their learning curves.
    """

    manifests: Mapping[Path, Mapping[str, Any]]
    jobs: Mapping[Path, Sequence[Job]]
    results: Sequence[Result]
    curves: Sequence[Mapping[str, Any]]
    missing: Sequence[str]
    notes: Sequence[str]


def gather(paths: Sequence[Path], *, mixed: bool = False) -> Gathered:
    """Read results folders, and those that lie directly in a folder that holds none itself.

    Whoever stands in several folders, as sellers and starts do, counts once.

    Args:
        paths: one or more folders.
        mixed: runs may be of other code, versions, budgets and training environments, which is
            told in ``notes``.

    Raises:
        ConvgymError: for a folder without results, damage, runs that judged on other customers,
            rows of one agent and seed that differ, and, unless ``mixed``, runs that differ
            otherwise; naming all that differs.
    """
    folders = list(dict.fromkeys(folder for path in paths for folder in _folders(path)))
    runs: Runs = {folder: read_run(folder) for folder in folders}
    notes = _compare({folder: manifest["run"] for folder, (manifest, _) in runs.items()}, mixed)
    runs, left_out = _with_seconds_that_compare(runs)
    notes += left_out
    rows: dict[Job, tuple[Path, Result]] = {}
    for folder, (_, results) in runs.items():
        for result in results:
            other, earlier = rows.setdefault(result.job, (folder, result))
            if earlier.outcomes != result.outcomes:
                told = f"{folder} and {other} hold rows of {result.job.label} that differ"
                if result.job.kind == "agent" or not mixed:
                    raise ConvgymError(f"{told}: leave one of them out")
                notes.append(f"{told}: the latter counts.")
    ordered = sorted(rows.values(), key=lambda row: _KINDS.index(row[1].job.kind))
    missing = [name for run in runs.values() for name in missing_rows(*run)]
    return Gathered(
        {folder: manifest for folder, (manifest, _) in runs.items()},
        {
            folder: [result.job for other, result in rows.values() if other == folder]
            for folder in folders
        },
        [result for _, result in ordered],
        [point for folder in folders for point in read_curves(folder)],
        list(dict.fromkeys(missing)),
        notes,
    )


def _with_seconds_that_compare(runs: Runs) -> tuple[Runs, list[str]]:
    """Leave out processor seconds of runs on accelerators, where others had none; say so."""
    accelerators = {folder: _accelerator(manifest) for folder, (manifest, _) in runs.items()}
    if all(accelerators.values()):
        return runs, []
    kept = {
        folder: (manifest, [replace(row, cpu_seconds=None) for row in rows])
        if accelerators[folder]
        else (manifest, rows)
        for folder, (manifest, rows) in runs.items()
    }
    told = [
        f"{folder} was computed on {name}: its processor seconds are left out, others had none."
        for folder, name in accelerators.items()
        if name
    ]
    return kept, told


def _accelerator(manifest: Mapping[str, Any]) -> str | None:
    """Return on what accelerator a run was computed, at any of its starts."""
    names = (start["machine"].get("accelerator") for start in manifest["starts"])
    return next(filter(None, names), None)


def _folders(path: Path) -> list[Path]:
    if (path / "manifest.json").exists():
        return [path]
    below = sorted(each.parent for each in path.glob("*/manifest.json"))
    return below or [path]  # which says, when it is read, that there are none


def _compare(runs: Mapping[Path, Mapping[str, Any]], mixed: bool) -> list[str]:
    """Return in what runs differ from the first, or raise ConvgymError if they must not."""
    (first, reference), *others = runs.items()
    unpaired: list[str] = []
    made: list[str] = []
    for folder, run in others:
        told = f"{folder} differs from {first} in"
        for changes, whole in (
            (unpaired, differences(judging(run), judging(reference))),
            (made, differences(making(run), making(reference))),
        ):
            changes += [f"{told} {', '.join(whole)}"] if whole else []
    if unpaired:
        raise ConvgymError(f"runs on other customers cannot be compared: {'; '.join(unpaired)}")
    if made and not mixed:
        raise ConvgymError(
            f"these runs were not made alike, say --mixed to read them together: {'; '.join(made)}"
        )
    return [f"NOT MADE ALIKE: {change}." for change in made]
