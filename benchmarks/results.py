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
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, NamedTuple, Self

from convgym.benchmarks.manifest import FORMAT, now
from convgym.benchmarks.statistics import Estimate, ratio_interval, wilson_interval
from convgym.benchmarks.suites import Job
from convgym.conversation import OUTCOMES, Episode
from convgym.customers.suggested import count_accepted
from convgym.errors import ConvgymError
from convgym.logs import write_log

MAX_EXCLUDED_SHARE = 0.05
"""A row that lost more than this share of its episodes to the customer's backend is invalid.

Those of training count on their own: who learnt from fewer conversations had a smaller budget.
"""

SAMPLES = 8
"""Evaluation conversations kept of each row: the first ones, the same customers for everybody."""

_LOCK = ".lock"

_LETTERS = {"purchase": "p", "walk_away": "w", "turn_limit": "t", "infrastructure_failure": "x"}
assert set(_LETTERS) == set(OUTCOMES)


@dataclass(frozen=True)
class Result:
    """One row of ``results.jsonl``.

    ``outcomes`` holds a letter for each evaluation episode, in the order of the evaluation seeds
    and so comparable customer by customer: p purchase, w walk-away, t turn limit, x failure of
    the customer's backend. ``turns`` is the mean length of the valid ones. ``acceptance`` is the
    share of suggestions that were sent verbatim or edited, None where nobody took suggestions.
    ``training_excluded`` of the training ``conversations`` broke on the customer's side.
    """

    job: Job
    outcomes: str
    turns: float | None
    conversations: int = 0
    deployments: int = 0
    train_seconds: float = 0.0
    evaluation_seconds: float = 0.0
    acceptance: Estimate | None = None
    training_excluded: int = 0

    @property
    def conversions(self) -> int:
        return self.outcomes.count("p")

    @property
    def excluded(self) -> int:
        """Episodes that count neither as a sale nor as a loss."""
        return self.outcomes.count("x")

    @property
    def episodes(self) -> int:
        """Episodes that count."""
        return len(self.outcomes) - self.excluded

    @property
    def valid(self) -> bool:
        return (
            self.episodes > 0
            and self.excluded <= MAX_EXCLUDED_SHARE * len(self.outcomes)
            and self.training_excluded <= MAX_EXCLUDED_SHARE * self.conversations
        )

    def to_row(self) -> dict[str, Any]:
        """Return the row as plain data, derived numbers included for those who read the file."""
        interval, acceptance = wilson_interval(self.conversions, self.episodes), self.acceptance
        return {
            "kind": self.job.kind,
            "name": self.job.name,
            "seed": self.job.seed,
            "conversions": self.conversions,
            "episodes": self.episodes,
            "conversion": interval.value,
            "wilson95": [interval.low, interval.high],
            "conversations": self.conversations,
            "deployments": self.deployments,
            "turns": self.turns,
            "train_seconds": self.train_seconds,
            "evaluation_seconds": self.evaluation_seconds,
            "excluded": self.excluded,
            "training_excluded": self.training_excluded,
            "valid": self.valid,
            "outcomes": self.outcomes,
            "acceptance": acceptance and acceptance.value,
            "acceptance95": acceptance and [acceptance.low, acceptance.high],
        }

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Result:
        """Return a result from its row; what follows from the outcomes is computed anew."""
        acceptance = row.get("acceptance")  # rows of earlier versions lack the last two
        return cls(
            Job(row["kind"], row["name"], row["seed"]),
            row["outcomes"],
            row["turns"],
            row["conversations"],
            row["deployments"],
            row["train_seconds"],
            row["evaluation_seconds"],
            None if acceptance is None else Estimate(acceptance, *row["acceptance95"]),
            row.get("training_excluded", 0),
        )


class Evaluation(NamedTuple):
    """What evaluation episodes say, as the fields of ``Result`` of the same names."""

    outcomes: str
    turns: float | None
    acceptance: Estimate | None


def evaluate(episodes: Sequence[Episode]) -> Evaluation:
    """Return the outcome letters of ``episodes``, and turns and acceptance of the valid ones."""
    valid = [episode for episode in episodes if episode.valid]
    turns = [len(episode.turns) for episode in valid]
    accepted = [count_accepted(episode) for episode in valid]
    acceptance = ratio_interval([k for k, _ in accepted], [n for _, n in accepted])
    return Evaluation(
        "".join(_LETTERS[episode.outcome] for episode in episodes),
        sum(turns) / len(turns) if turns else None,
        None if math.isnan(acceptance.value) else acceptance,
    )


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
        change = _first_difference(earlier["run"], json.loads(_dumps(manifest["run"])))
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
        write_log(conversations / f"{job.label}.jsonl", samples[:SAMPLES], overwrite=True)
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
        found = manifest["format"]
    except OSError:
        raise ConvgymError(f"{folder} holds no results: there is no {path.name}") from None
    except (ValueError, KeyError, TypeError):
        raise ConvgymError(f"{path} is not a manifest of convgym bench") from None
    if found != FORMAT:
        raise ConvgymError(f"{path} has format {found}, this version reads format {FORMAT}")
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


def write_json(path: Path, data: Mapping[str, Any]) -> None:
    """Write ``data`` so that a reader finds the old file or the new one, never a part."""
    write_atomically(path, _dumps(data, indent=2) + "\n")


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write a file under another name, then move it into place."""
    part = path.with_name(f".{path.name}.part")
    with part.open("wb") as file:
        file.write(content.encode() if isinstance(content, str) else content)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)


def _replace_rows(path: Path, job: Job, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write a job's rows in place of those that an interrupted attempt may have left."""
    key = {"kind": job.kind, "name": job.name, "seed": job.seed}
    others = [row for row in read_rows(path) if {name: row.get(name) for name in key} != key]
    lines = [_dumps(row) for row in others] + [_dumps({**key, **row}) for row in rows]
    write_atomically(path, "".join(f"{line}\n" for line in lines))


def _dumps(data: Any, indent: int | None = None) -> str:
    return json.dumps(_plain(data), indent=indent, allow_nan=False, ensure_ascii=False)


def _plain(data: Any) -> Any:
    """Return ``data`` as JSON knows it: arrays as lists, numbers that are not finite as null."""
    if isinstance(data, Mapping):
        return {str(key): _plain(value) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [_plain(value) for value in data]
    if hasattr(data, "tolist"):
        return _plain(data.tolist())
    if isinstance(data, float) and not math.isfinite(data):
        return None
    return data if data is None or isinstance(data, str | int | float) else str(data)


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
            found = _first_difference(earlier[key], later[key], path)
            if found:
                return found
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
