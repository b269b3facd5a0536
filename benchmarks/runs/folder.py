"""The results folder: rows that survive an interruption and are never overwritten.

::

    manifest.json         code, settings, seeds, versions, machine; see ``manifest.py``
    results.jsonl         a row for each seller and for each agent and training seed
    curves.jsonl          conversion against conversations, measured while training
    training.jsonl        an agent's own metrics, a row an update or round
    conversations/*.jsonl the first evaluation conversations of each row, as a log
    agents/*/             an agent's checkpoints
    agents/*/policy/      the policy that was evaluated
    policies/*/           policies that the suite keeps, in half precision; see ``policies.py``

Scores, table, picture and page are pure functions of these files. They are read by ``reading.py``.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Self

from convgym.benchmarks.provenance import now
from convgym.benchmarks.runs.identity import first_difference
from convgym.benchmarks.runs.reading import (
    missing_rows,
    promised,
    read_manifest,
    read_results,
    read_rows,
    read_run,
)
from convgym.benchmarks.runs.result import Result
from convgym.benchmarks.runs.suites import Job
from convgym.conversation import Episode
from convgym.datafiles import dumps, part_of, write_atomically, write_json
from convgym.errors import ConvgymError
from convgym.locking import locked
from convgym.logs import write_log

__all__ = ["ResultsFolder", "read_manifest", "read_results", "read_rows"]

_LOCK = ".lock"


class ResultsFolder:
    """A folder that one run writes, opened for a new run or to go on with an unfinished one.

    ``complete`` says that the folder holds this very run, finished and whole: nothing is to be
    done. A finished run that lost a row is unfinished.
    """

    def __init__(self, path: Path, manifest: Mapping[str, Any]) -> None:
        """Open ``path`` for the run of ``manifest``.

        Raises ConvgymError when the folder holds a run of other settings, an unfinished one of
        other code, files of another kind, links, damage, or a run that is still being written.
        """
        self.path = path
        self.complete = False
        with _told(path):
            path.mkdir(parents=True, exist_ok=True)
            own = {_LOCK, part_of(path / "manifest.json").name}
            names = {entry.name for entry in path.iterdir()}
            if "manifest.json" not in names and names - own:
                raise ConvgymError(
                    f"{path} is not empty and holds no results; give another --output"
                )
            _refuse_foreign(path)
            self._lock = _lock(path)
            try:
                self._manifest = self._open(dict(manifest))
            except BaseException:
                self._lock.close()
                raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        """Let other processes open the folder."""
        self._lock.close()

    def _open(self, manifest: dict[str, Any]) -> dict[str, Any]:
        if not (self.path / "manifest.json").exists():
            write_json(self.path / "manifest.json", manifest)
            return manifest
        earlier, results = read_run(self.path)
        finished = earlier["finished"]
        whole = finished and not missing_rows(earlier, results)
        change = first_difference(earlier["run"], manifest["run"], settings_only=bool(whole))
        if change:
            state = f"a run that was finished at {finished}" if finished else "an unfinished run"
            raise ConvgymError(
                f"{self.path} holds {state}, with {change}, and is never overwritten; give another"
                f" --output, go back to its settings, or see it with `convgym report {self.path}`"
            )
        if whole:
            self.complete = True
            return earlier
        earlier["starts"].extend(manifest["starts"])
        earlier["finished"] = None
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
        """Write all of one job; its row in ``results.jsonl`` is written last and marks it as done.

        Rows stand in the suite's order, in whichever order jobs are done.

        Raises ConvgymError when the disk is full or the folder cannot be written any more.
        """
        job, order = result.job, promised(self._manifest)
        with _told(self.path, ConvgymError):  # of the log
            conversations = self.path / "conversations"
            conversations.mkdir(exist_ok=True)
            write_log(conversations / f"{job.label}.jsonl", samples, overwrite=True)
            _replace_rows(self.path / "curves.jsonl", job, curve, order)
            _replace_rows(self.path / "training.jsonl", job, training, order)
            _replace_rows(self.path / "results.jsonl", job, [result.to_row()], order)

    def finish(self) -> None:
        """Mark the run as complete: from here on the folder is only read."""
        self._manifest["finished"] = now()
        with _told(self.path):
            write_json(self.path / "manifest.json", self._manifest)


_GOES_ON = "rows that are done stay, and the same command goes on from there"


@contextmanager
def _told(path: Path, *told: type[Exception]) -> Iterator[None]:
    """Tell in one line why a folder cannot be written; errors that are ``told`` say so already."""
    try:
        yield
    except OSError as error:
        reason = f"cannot write to {path}: {error.strerror or type(error).__name__}"
        raise ConvgymError(f"{reason}; {_GOES_ON}") from None
    except told as error:
        raise ConvgymError(f"{error}; {_GOES_ON}") from None


def _refuse_foreign(folder: Path) -> None:
    """Raise ConvgymError for links inside a folder, and pipes and the like.

    Writing to a link would change what lies elsewhere, and reading a pipe might never end.
    """
    for place, folders, names in os.walk(folder):
        for name in (*folders, *names):
            if (path := Path(place, name)).is_symlink():
                raise ConvgymError(
                    f"{path} is a link to {os.readlink(path)}, and links inside a results folder"
                    " are not followed; replace it by what it leads to, or give another --output"
                )
            if name in names and not path.is_file():
                raise ConvgymError(
                    f"{path} is not a plain file: take it out, or give another --output"
                )


def _replace_rows(
    path: Path,
    job: Job,
    rows: Iterable[Mapping[str, Any]],
    order: Sequence[tuple[str, str, int]],
) -> None:
    """Write a job's rows in place of those that an interrupted attempt may have left."""
    own = {"kind": job.kind, "name": job.name, "seed": job.seed}
    places = {key: place for place, key in enumerate(order)}
    everything = [(_key(row), row) for row in read_rows(path)]
    kept = [(key, row) for key, row in everything if key != _key(own)]
    kept += [(_key(own), {**row, **own}) for row in rows]
    kept.sort(key=lambda entry: places.get(entry[0], len(places)))
    write_atomically(path, "".join(f"{dumps(row)}\n" for _, row in kept))


def _key(row: Mapping[str, Any]) -> tuple[Any, ...]:
    return row.get("kind"), row.get("name"), row.get("seed")


def _lock(folder: Path) -> ExitStack:
    """Hold the folder for this process; closing what is returned gives it back."""
    flags = os.O_WRONLY | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0)
    refusal = f"another run is writing to {folder}; wait for it or give another --output"
    with ExitStack() as stack:
        file = stack.enter_context(os.fdopen(os.open(folder / _LOCK, flags, 0o644), "wb"))
        stack.enter_context(locked(file, refusal, wait=0))
        return stack.pop_all()
