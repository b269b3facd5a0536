"""Logged conversations on disk: JSON Lines, one episode a line, UTF-8.

A line (here on several) of version 1::

    {"schema": "convgym.episode", "version": 1, "seed": 7, "opening": "Hello.",
     "turns": [{"seller": "What do you need?", "customer": "A laptop for games.",
                "token_ids": [4, 8], "token_logprobs": [-0.1, -2.25]}],
     "outcome": "walk_away", "customer": "scripted-v0:laptops:...", "policy": "mediocre",
     "metadata": {}}

``token_ids`` and ``token_logprobs`` are there when a language model spoke. Floats are written so
that they are read back exactly; ``metadata`` is any JSON object (tuples come back as lists), in
which two names are taken: ``failure``, and ``suggestions``, one a turn (see
``convgym.customers.suggested``). Files whose name ends in ``.gz`` are compressed.

A program that is stopped while it writes leaves a last line without its end. Such a line is no
episode: reading reports and skips it, appending cuts it off. Any other damage is an error.
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Annotated, Any, Literal, NotRequired

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError, with_config
from typing_extensions import TypedDict

from convgym.conversation import Episode, Outcome, Response, Turn
from convgym.errors import ConvgymError

SCHEMA = "convgym.episode"
VERSION = 1

_STRICT = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


@with_config(_STRICT)
class _Turn(TypedDict):
    seller: str
    customer: str
    token_ids: NotRequired[tuple[int, ...]]
    token_logprobs: NotRequired[tuple[float, ...]]


@with_config(_STRICT)
class _Suggestion(TypedDict):
    suggestion: str
    sent: str
    kind: Literal["verbatim", "edited", "influenced", "ignored", "abstained"]


@with_config(ConfigDict(extra="allow", strict=True))
class _Metadata(TypedDict):
    failure: NotRequired[str]
    suggestions: NotRequired[list[_Suggestion]]


@with_config(_STRICT)
class _Row(TypedDict):
    schema: Literal["convgym.episode"]
    version: Literal[1]
    seed: Annotated[int, Field(ge=0)]
    opening: str
    turns: tuple[_Turn, ...]
    outcome: Outcome
    customer: str
    policy: str
    metadata: _Metadata


_ROW = TypeAdapter(_Row)


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with a line, counted from 1."""

    line: int
    message: str


@dataclass(frozen=True)
class LogReport:
    """What a log holds: ``n`` whole episodes, how they ended, and the lines that are damaged."""

    n: int
    outcomes: Mapping[str, int]
    problems: tuple[Problem, ...] = ()


@dataclass(frozen=True)
class Log:
    """The episodes of a log in the order of its lines, and the report on it."""

    episodes: list[Episode]
    report: LogReport


class _Malformed(Exception):
    """What is wrong with one line."""


class _CutOff(_Malformed):
    """The line ends too early, because the writer was stopped."""


def write_log(
    path: str | Path, episodes: Iterable[Episode], *, append: bool = False, overwrite: bool = False
) -> int:
    """Write episodes as they come and return how many there were.

    Args:
        path: the log; its folder must exist.
        episodes: what to write; an iterator works too.
        append: add to a log that exists, having cut off a last line without its end.
        overwrite: replace a log that exists.

    Raises:
        ConvgymError: if the log exists and neither is allowed, if it cannot be opened, if it is
            compressed and appended to, or if an episode cannot be written as JSON; the episodes
            before it are in the log then.
    """
    path = Path(path)
    if append and overwrite:
        raise ConvgymError("a log is either appended to or overwritten, not both")
    try:
        if append and path.exists():
            _mend(path)
        file = _open(path, "ab" if append else "wb" if overwrite else "xb")
    except FileExistsError:
        raise ConvgymError(
            f"log {path} exists: choose another name, or allow append or overwrite"
        ) from None
    except OSError as error:
        raise ConvgymError(f"cannot write the log {path}: {error.strerror}") from None
    count = 0
    with file:
        for episode in episodes:
            file.write(_line(episode))
            count += 1
    return count


def read_log(path: str | Path) -> Log:
    """Return the episodes of a log and a report.

    A last line without its end is reported and skipped. Raises ConvgymError for any other damage,
    naming file, line, field, what was expected and what came.
    """
    episodes, problems = [], []
    for number, found in _parse(Path(path)):
        if isinstance(found, Episode):
            episodes.append(found)
        elif isinstance(found, _CutOff):
            problems.append(Problem(number, str(found)))
        else:
            raise ConvgymError(f"log {path}, line {number}: {found}")
    return Log(episodes, _report(episodes, problems))


def validate_log(path: str | Path) -> LogReport:
    """Return how many whole episodes a log holds, and every line that is damaged.

    Raises ConvgymError only if the file cannot be read at all.
    """
    episodes, problems = [], []
    for number, found in _parse(Path(path)):
        if isinstance(found, Episode):
            episodes.append(found)
        else:
            problems.append(Problem(number, str(found)))
    return _report(episodes, problems)


def _report(episodes: list[Episode], problems: list[Problem]) -> LogReport:
    outcomes: Counter[str] = Counter(episode.outcome for episode in episodes)
    return LogReport(len(episodes), dict(outcomes), tuple(problems))


# Writing.


def _open(path: Path, mode: Literal["ab", "wb", "xb"]) -> IO[bytes]:
    if path.suffix != ".gz":
        return path.open(mode)
    if mode == "ab" and path.exists():
        raise ConvgymError(f"cannot append to the compressed log {path}: write a new one")
    return gzip.open(path, "wb" if mode == "ab" else mode)  # type: ignore[return-value]


def _mend(path: Path) -> None:
    """Let a plain file end with a whole line: end the last one if it is whole, else cut it off."""
    if path.suffix == ".gz":
        return
    with path.open("rb+") as file:
        whole = 0
        last = b""
        for last in file:
            if last.endswith(b"\n"):
                whole += len(last)
        if not last or last.endswith(b"\n"):
            return
        try:
            _episode(last)
        except _Malformed:
            file.truncate(whole)
        else:
            file.seek(0, 2)
            file.write(b"\n")


def _line(episode: Episode) -> bytes:
    row = {
        "schema": SCHEMA,
        "version": VERSION,
        "seed": episode.seed,
        "opening": episode.opening,
        "turns": [_turn(turn) for turn in episode.turns],
        "outcome": episode.outcome,
        "customer": episode.customer,
        "policy": episode.policy,
        "metadata": dict(episode.metadata),
    }
    try:
        text = json.dumps(row, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        return text.encode() + b"\n"
    except (TypeError, ValueError) as error:  # ValueError: NaN, or text that is no Unicode
        raise ConvgymError(
            f"the episode of seed {episode.seed} cannot be written as JSON: {error}"
        ) from None


def _turn(turn: Turn) -> dict[str, Any]:
    row: dict[str, Any] = {"seller": turn.response.text, "customer": turn.reply}
    # int and float: NumPy's numbers are not JSON.
    if turn.response.token_ids is not None:
        row["token_ids"] = [int(token) for token in turn.response.token_ids]
    if turn.response.token_logprobs is not None:
        row["token_logprobs"] = [float(value) for value in turn.response.token_logprobs]
    return row


# Reading.


def _parse(path: Path) -> Iterator[tuple[int, Episode | _Malformed]]:
    """Yield the number of every line that is not blank, with its episode or what is wrong."""
    number = 0
    try:
        with _open_to_read(path) as file:
            for line in file:
                number += 1
                if not line.strip():
                    continue
                try:
                    yield number, _episode(line)
                except _Malformed as problem:
                    whole = line.endswith(b"\n")
                    yield number, problem if whole else _CutOff("the last line has no end")
    except EOFError:
        yield number + 1, _CutOff("the compressed file has no end")
    except (gzip.BadGzipFile, zlib.error) as error:
        raise ConvgymError(f"log {path} is damaged after line {number}: {error}") from None
    except OSError as error:
        raise ConvgymError(f"cannot read the log {path}: {error.strerror}") from None


def _open_to_read(path: Path) -> IO[bytes]:
    return gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb")  # type: ignore[return-value]


def _episode(line: bytes) -> Episode:
    """Return the episode of one line. Raises _Malformed."""
    try:
        row = _ROW.validate_json(line.decode())
    except UnicodeDecodeError as error:
        raise _Malformed(f"expected UTF-8 text, got byte {line[error.start]:#04x}") from None
    except ValidationError as error:
        raise _Malformed(_explain(error)) from None
    suggestions = row["metadata"].get("suggestions")
    if suggestions is not None and len(suggestions) != len(row["turns"]):
        raise _Malformed(
            f"field metadata.suggestions: expected one for each of {len(row['turns'])} turns, got"
            f" {len(suggestions)}"
        )
    return Episode(
        seed=row["seed"],
        opening=row["opening"],
        turns=tuple(_heard(number, turn) for number, turn in enumerate(row["turns"])),
        outcome=row["outcome"],
        customer=row["customer"],
        policy=row["policy"],
        metadata=row["metadata"],
    )


def _heard(number: int, row: _Turn) -> Turn:
    ids, logprobs = row.get("token_ids"), row.get("token_logprobs")
    if ids is not None and logprobs is not None and len(ids) != len(logprobs):
        raise _Malformed(
            f"field turns.{number}.token_logprobs: expected a number for each of {len(ids)} tokens,"
            f" got {len(logprobs)}"
        )
    return Turn(Response(row["seller"], ids, logprobs), row["customer"])


def _explain(error: ValidationError) -> str:
    problems = {".".join(map(str, problem["loc"])): problem for problem in error.errors()}
    # A line of another kind or version differs in other fields too; its kind says more.
    field = next((name for name in ("schema", "version") if name in problems), next(iter(problems)))
    problem = problems[field]
    if not field:
        return f"expected a JSON object of one episode: {problem['msg']}"
    if problem["type"] == "missing":
        return f"field {field}: expected, but it is not there"
    if problem["type"] == "extra_forbidden":
        return f"field {field}: not known in version {VERSION}"
    if field == "version":
        return (
            f"field version: this convgym reads version {VERSION}, got {problem['input']!r}:"
            " read it with the convgym that wrote it, or a newer one"
        )
    return f"field {field}: {problem['msg']}, got {repr(problem['input'])[:60]}"
