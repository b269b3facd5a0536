"""The results folder: rows that survive an interruption and are never overwritten.

::

    manifest.json         code, settings, seeds, versions, machine; see ``manifest.py``
    results.jsonl         a row for each seller and for each agent and training seed
    curves.jsonl          conversion against conversations, measured while training
    training.jsonl        an agent's own metrics, a row an update or round
    conversations/*.jsonl the first evaluation conversations of each row, as a log
    agents/*/             an agent's checkpoints
    agents/*/policy/      the policy that was evaluated

Scores, table, picture and page are pure functions of these files.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, Self

from convgym.benchmarks.provenance import now
from convgym.benchmarks.runs.manifest import FORMAT
from convgym.benchmarks.runs.result import _LETTERS, Result
from convgym.benchmarks.runs.suites import Job
from convgym.conversation import OUTCOMES, Episode
from convgym.datafiles import dumps, write_atomically, write_json
from convgym.errors import ConvgymError
from convgym.logs import write_log

_LOCK = ".lock"

assert set(_LETTERS) == set(OUTCOMES)


class ResultsFolder:
    """A folder that one run writes, opened for a new run or to go on with an unfinished one."""

    def __init__(self, path: Path, manifest: Mapping[str, Any]) -> None:
        """Open ``path`` for the run of ``manifest``.

        Raises ConvgymError when the folder holds a finished run, an unfinished run of other
        settings or code, files of another kind, or a run that is still being written.
        """
        self.path = path
        try:
            path.mkdir(parents=True, exist_ok=True)
            if not (path / "manifest.json").exists() and {e.name for e in path.iterdir()} - {_LOCK}:
                raise ConvgymError(
                    f"{path} is not empty and holds no results; give another --output"
                )
            self._lock = _lock(path)
            try:
                self._manifest = self._open(dict(manifest))
            except BaseException:
                self._lock.close()
                raise
        except OSError as error:
            raise ConvgymError(f"cannot write to {path}: {error.strerror}") from None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        """Let other processes open the folder."""
        self._lock.close()

    def _open(self, manifest: dict[str, Any]) -> dict[str, Any]:
        if not (self.path / "manifest.json").exists():
            write_json(self.path / "manifest.json", manifest)
            return manifest
        earlier = read_manifest(self.path)
        if earlier["finished"]:
            raise ConvgymError(
                f"{self.path} holds a finished run of {earlier['finished']}, which is never"
                " overwritten; give another --output (or see it with"
                f" `convgym report {self.path}`)"
            )
        # Through JSON, so that tuples and lists compare equal.
        change = _first_difference(earlier["run"], json.loads(dumps(manifest["run"])))
        if change:
            raise ConvgymError(
                f"{self.path} holds an unfinished run with {change}; give another --output, or"
                " go back to its settings to resume it"
            )
        earlier["starts"].extend(manifest["starts"])
        write_json(self.path / "manifest.json", earlier)
        return earlier

    def results(self) -> list[Result]:
        """Return the rows that are done."""
        return read_results(self.path)

    def agent_folder(self, job: Job) -> Path:
        """Return where the agent of a job keeps its checkpoints."""
        return self.path / "agents" / job.label

    def add(
        self,
        result: Result,
        *,
        curve: Iterable[Mapping[str, Any]] = (),
        training: Iterable[Mapping[str, Any]] = (),
        samples: Sequence[Episode] = (),
    ) -> None:
        """Write all of one job; its row in ``results.jsonl`` comes last and marks it as done."""
        job = result.job
        conversations = self.path / "conversations"
        conversations.mkdir(exist_ok=True)
        write_log(conversations / f"{job.label}.jsonl", samples, overwrite=True)
        _replace_rows(self.path / "curves.jsonl", job, curve)
        _replace_rows(self.path / "training.jsonl", job, training)
        _replace_rows(self.path / "results.jsonl", job, [result.to_row()])

    def finish(self) -> None:
        """Mark the run as complete: from here on the folder is only read."""
        self._manifest["finished"] = now()
        write_json(self.path / "manifest.json", self._manifest)


def read_manifest(folder: Path) -> dict[str, Any]:
    """Return a run's manifest; raises ConvgymError when there is none or it is damaged."""
    path = folder / "manifest.json"
    try:
        manifest: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        version = manifest["format"]
    except OSError:
        raise ConvgymError(f"{folder} holds no results: there is no {path.name}") from None
    except (ValueError, KeyError, TypeError):
        raise ConvgymError(f"{path} is not a manifest of convgym bench") from None
    if version != FORMAT:
        raise ConvgymError(f"{path} has format {version}, this version reads format {FORMAT}")
    return manifest


def read_results(folder: Path) -> list[Result]:
    """Return the rows of ``results.jsonl``; raises ConvgymError when one is damaged."""
    try:
        return [Result.from_row(row) for row in read_rows(folder / "results.jsonl")]
    except (KeyError, TypeError) as error:
        raise ConvgymError(f"{folder / 'results.jsonl'} has a row without {error}") from None


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Return the rows of a JSONL file, none if there is no file.

    A last line that was cut off while being written is dropped. Raises ConvgymError, naming the
    line, when another one does not parse.
    """
    if not path.exists():
        return []
    lines = path.read_text(encoding="utf-8", errors="replace").split("\n")
    rows = []
    for number, line in enumerate(lines, start=1):
        try:
            row = json.loads(line) if line else None
        except ValueError:
            row = None
        if isinstance(row, dict):
            rows.append(row)
        elif number < len(lines):
            raise ConvgymError(f"{path} is damaged at line {number}")
    return rows


def _replace_rows(path: Path, job: Job, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write a job's rows in place of those that an interrupted attempt may have left."""
    key = {"kind": job.kind, "name": job.name, "seed": job.seed}
    others = [row for row in read_rows(path) if {name: row.get(name) for name in key} != key]
    lines = [dumps(row) for row in others] + [dumps({**key, **row}) for row in rows]
    write_atomically(path, "".join(f"{line}\n" for line in lines))


def _first_difference(earlier: Any, later: Any, name: str = "") -> str | None:
    """Say where two settings first differ, or return None when they are equal."""
    if earlier == later:
        return None
    if isinstance(earlier, dict) and isinstance(later, dict):
        for key in dict.fromkeys([*earlier, *later]):
            path = f"{name}.{key}" if name else key
            if key not in earlier or key not in later:
                here, there = earlier.get(key, "nothing"), later.get(key, "nothing")
                return f"{path} = {here}, not {there}"
            change = _first_difference(earlier[key], later[key], path)
            if change:
                return change
    return f"{name} = {earlier}, not {later}"


def _lock(folder: Path) -> IO[str]:
    """Hold the folder for this process, where the system can; the lock ends with the process."""
    file = (folder / _LOCK).open("w")
    try:
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except ImportError:  # not on Windows
        pass
    except OSError:
        file.close()
        raise ConvgymError(
            f"another run is writing to {folder}; wait for it or give another --output"
        ) from None
    return file
