"""Read a results folder that a run, a crash or a stranger left."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError
from pydantic_core import from_json

from convgym.benchmarks.runs.result import Result
from convgym.benchmarks.runs.schema import FORMAT, MANIFEST, POINT, RESULT, explain
from convgym.benchmarks.runs.suites import START
from convgym.datafiles import read_whole
from convgym.errors import ConvgymError

_RESULTS = "results.jsonl"


def read_manifest(folder: Path) -> dict[str, Any]:
    """Return a run's manifest; raises ConvgymError when there is none or it is damaged."""
    path = folder / "manifest.json"
    try:
        text = read_whole(path)
    except FileNotFoundError:
        raise ConvgymError(f"{folder} holds no results: there is no {path.name}") from None
    except OSError as error:
        raise ConvgymError(f"{folder} holds no results: {path.name}: {error.strerror}") from None
    try:
        version = from_json(text)["format"]
    except (ValueError, KeyError, TypeError):
        raise ConvgymError(f"{path} is not a manifest of convgym bench") from None
    if version != FORMAT:
        shown = str(version)[:20]
        raise ConvgymError(f"{path} has format {shown}, this version reads format {FORMAT}")
    try:
        return dict(MANIFEST.validate_json(text))
    except ValidationError as error:
        raise ConvgymError(f"{path} is damaged: {explain(error)}") from None


def read_run(folder: Path) -> tuple[dict[str, Any], list[Result]]:
    """Return a run's manifest and its rows.

    Raises ConvgymError for what ``read_manifest`` and ``read_results`` refuse, and for rows that
    are none of this run's: of somebody whom the manifest does not name, or of other customers.
    """
    manifest, results = read_manifest(folder), read_results(folder)
    known, episodes = set(promised(manifest)), manifest["run"]["suite"]["evaluation_episodes"]
    for result in results:
        job = result.job
        if (job.kind, job.name, job.seed) not in known:
            raise ConvgymError(
                f"{folder / _RESULTS} holds a row of {job.kind} {job.name!r}, seed {job.seed}, who"
                " is not in this run's manifest: take it out"
            )
        if len(result.outcomes) != episodes:
            raise ConvgymError(
                f"{folder / _RESULTS} is damaged: the row of {job.label} holds"
                f" {len(result.outcomes)} conversations, and everybody was judged on {episodes}"
            )
    return manifest, results


def read_results(folder: Path) -> list[Result]:
    """Return the rows of ``results.jsonl``, none if there is no file.

    A row that stands there twice counts once. Raises ConvgymError for a damaged row, and for two
    rows of one job that differ.
    """
    path = folder / _RESULTS
    results: dict[Any, Result] = {}
    for row in _valid_rows(path, RESULT):
        result = Result.from_row(row)
        counted = (row.get("conversions"), row.get("episodes"))
        if counted != (result.conversions, result.episodes):
            raise ConvgymError(
                f"{path} is damaged: the row of {result.job.label} counts other outcomes than it"
                " holds"
            )
        if results.setdefault(result.job, result) != result:
            raise ConvgymError(f"{path} holds two rows of {result.job.label} that differ")
    return list(results.values())


def read_curves(folder: Path) -> list[dict[str, Any]]:
    """Return the points of ``curves.jsonl``; raises ConvgymError for a damaged one."""
    return _valid_rows(folder / "curves.jsonl", POINT)


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Return the rows of a JSONL file, none if there is no file.

    A last line that was cut off while being written is dropped. Raises ConvgymError, naming the
    line, when another one does not parse.
    """
    return [row for _, row in _numbered_rows(path)]


def missing_rows(manifest: dict[str, Any], results: Sequence[Result]) -> list[str]:
    """Return who has no row that the manifest promises, by the labels of ``Job``."""
    done = {(result.job.kind, result.job.name, result.job.seed) for result in results}
    return [
        f"{name} (seed {number})" if kind == "agent" else name
        for kind, name, number in promised(manifest)
        if (kind, name, number) not in done
    ]


def promised(manifest: dict[str, Any]) -> list[tuple[str, str, int]]:
    """Return kind, name and seed of each row of a whole run, in the suite's order."""
    suite, seed = manifest["run"]["suite"], manifest["run"]["seed"]
    rows = [("seller", name, seed) for name in suite["sellers"]]
    rows += [("start", name, seed) for name in _starts(manifest)]
    for name in suite["agents"]:
        n = suite.get("seeds", {}).get(name, suite["training_seeds"])
        rows += [("agent", name, number) for number in range(seed * n, (seed + 1) * n)]
    return rows


def _starts(manifest: dict[str, Any]) -> list[str]:
    """Return the names of the starts; before they stood in the manifest there was one for all."""
    run = manifest["run"]
    return list(
        dict.fromkeys(run.get("starts", dict.fromkeys(run["suite"]["agents"], START)).values())
    )


def _valid_rows(path: Path, kind: TypeAdapter[Any]) -> list[dict[str, Any]]:
    rows = []
    for number, row in _numbered_rows(path):
        try:
            rows.append(dict(kind.validate_python(row)))
        except ValidationError as error:
            raise ConvgymError(f"{path} is damaged at line {number}: {explain(error)}") from None
    return rows


def _numbered_rows(path: Path) -> list[tuple[int, dict[str, Any]]]:
    try:
        lines = read_whole(path).split(b"\n")
    except FileNotFoundError:
        return []
    except OSError as error:
        raise ConvgymError(f"cannot read {path}: {error.strerror}") from None
    rows = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            row = from_json(line)
        except ValueError:
            row = None
        if isinstance(row, dict):
            rows.append((number, row))
        elif number < len(lines) or not line.startswith(b"{"):
            raise ConvgymError(f"{path} is damaged at line {number}")
    return rows
