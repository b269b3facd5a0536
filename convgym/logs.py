"""Logged conversations on disk: JSON Lines, one episode a line, UTF-8.

A line (here on several)::

    {"schema": "convgym.episode", "version": 1, "seed": 7, "opening": "Hello.",
     "turns": [{"seller": "What do you need?", "customer": "A laptop for games.",
                "token_ids": [4, 8], "token_logprobs": [-0.1, -2.25]}],
     "outcome": "walk_away", "customer": "scripted-v0:laptops:...", "policy": "mediocre",
     "metadata": {}}

``token_ids`` and ``token_logprobs`` are there when a language model spoke. Floats are written so
that they are read back exactly; ``metadata`` is any JSON object (tuples come back as lists), in
which two names are taken: ``failure``, and ``suggestions``, one a turn (see
``convgym.customers.suggested``). Files whose name ends in ``.gz`` are compressed.

A program that is stopped while it appends leaves a last line without its end. Such a line, which
begins as an episode, is none: reading reports and skips it, appending cuts it off. Any other damage
is an error, and a file that does not begin as a log is not touched.
"""

from __future__ import annotations

import codecs
import errno
import gzip
import json
import math
import os
import secrets
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Annotated, Any, Literal, NotRequired, cast

import numpy as np
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError, with_config
from typing_extensions import TypedDict

from convgym.checks import check_seed
from convgym.conversation import Episode, Outcome, Response, Turn
from convgym.datafiles import check_new_file
from convgym.errors import ConvgymError
from convgym.jsonl import is_cut_off, mend, whole_rows, without_byte_order_mark
from convgym.locking import locked

SCHEMA = "convgym.episode"
VERSION = 2
"""The newest version. A row says the oldest one that holds it: 2 is of failed sellers alone."""
_ROW_MARK = b'{"schema":"convgym.episode"'
"""How every row begins that was written here, without white space."""

_GZIP = b"\x1f\x8b"
"""How compressed files begin."""

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
    version: Literal[1, 2]
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


_OF_OTHERS = frozenset({".csv", ".tsv", ".parquet", ".xlsx"})
"""Endings by which programs would take a log for a file of another kind."""


def check_new_log(path: Path) -> None:
    """Raise ConvgymError unless a new log can be written at ``path``, and looks like one."""
    check_new_file(path)
    if path.suffix.lower() in _OF_OTHERS:
        raise ConvgymError(
            f"a log is JSON lines, and {path} looks like another kind of file: call it"
            f" {path.with_suffix('.jsonl')}, and convgym logs export makes CSV or Parquet of it"
        )


def write_log(
    path: str | Path, episodes: Iterable[Episode], *, append: bool = False, overwrite: bool = False
) -> int:
    """Write episodes as they come and return how many there were.

    A new log, or one that is replaced, appears once it is whole: if anything fails before, there is
    none, or the old one. What is appended is in the log row by row. One writer at a time: others
    wait for ten seconds, and are then refused.

    Args:
        path: the log; its folder must exist.
        episodes: what to write; an iterator works too.
        append: add to a log that exists. If its last row was cut off by a writer that was stopped,
            the rest of that row goes; nothing else does.
        overwrite: replace a log that exists.

    Raises:
        ConvgymError: if the log exists and neither is allowed, if it cannot be written, if what is
            appended to is compressed, no log, or being written by somebody else, or if an episode
            cannot be written as JSON.
    """
    path = Path(path)
    if append and overwrite:
        raise ConvgymError("a log is either appended to or overwritten, not both")
    if not (append or overwrite) and path.exists():
        raise _exists(path)
    if path.exists() and not path.is_file():  # a pipe or a device is written to as it is
        with _told(path):
            file = path.open("wb")
        with _closed(file):
            return _write(file, path, episodes)
    if not append:
        return _write_whole(path, episodes, overwrite)
    if path.suffix != ".gz":
        return _append(path, episodes)
    if path.exists():
        raise ConvgymError(f"cannot append to the compressed log {path}: write a new one")
    return _write_whole(path, episodes, overwrite=False)


def read_log(path: str | Path) -> Log:
    """Return the episodes of a log and a report.

    A last line without its end is reported and skipped. Raises ConvgymError for any other damage,
    naming file, line, field, what was expected and what came.
    """
    episodes, problems = [], []
    for number, parsed in _parse(Path(path)):
        if isinstance(parsed, Episode):
            episodes.append(parsed)
        elif isinstance(parsed, _CutOff):
            problems.append(Problem(number, str(parsed)))
        else:
            hint = "" if episodes else "; chats of others are made a log by convgym logs import"
            raise ConvgymError(f"log {path}, line {number}: {parsed}{hint}")
    return Log(episodes, _report(episodes, problems))


def validate_log(path: str | Path) -> LogReport:
    """Return how many whole episodes a log holds, and every line that is damaged.

    Raises ConvgymError only if the file cannot be read at all.
    """
    episodes, problems = [], []
    for number, parsed in _parse(Path(path)):
        if isinstance(parsed, Episode):
            episodes.append(parsed)
        else:
            problems.append(Problem(number, str(parsed)))
    return _report(episodes, problems)


def _report(episodes: list[Episode], problems: list[Problem]) -> LogReport:
    outcomes: Counter[str] = Counter(episode.outcome for episode in episodes)
    return LogReport(len(episodes), dict(outcomes), tuple(problems))


# Writing.


@contextmanager
def _told(path: Path) -> Iterator[None]:
    """Tell what the operating system says of writing a log in one line."""
    try:
        yield
    except OSError as error:
        raise ConvgymError(f"cannot write the log {path}: {error.strerror or error}") from None


@contextmanager
def _closed(file: IO[bytes]) -> Iterator[IO[bytes]]:
    """Close a file in the end; that it was full is told already."""
    try:
        yield file
    finally:
        with suppress(OSError):
            file.close()


def _exists(path: Path) -> ConvgymError:
    return ConvgymError(f"log {path} exists: choose another name, or allow append or overwrite")


def _locked(file: IO[bytes], path: Path) -> AbstractContextManager[None]:
    return locked(
        file, f"log {path} is being written by somebody else: wait for them, or choose another name"
    )


def _write(file: IO[bytes], path: Path, episodes: Iterable[Episode]) -> int:
    """Write episodes and return how many there were."""
    count = 0
    for episode in episodes:  # whose own errors are not the log's
        row = _line(episode)
        with _told(path):
            file.write(row)
        count += 1
    with _told(path):
        file.flush()
    return count


def _write_whole(path: Path, episodes: Iterable[Episode], overwrite: bool) -> int:
    """Write a log beside its place, then put it there."""
    target = Path(os.path.realpath(path))
    if target.is_symlink():
        raise ConvgymError(f"cannot write the log {path}: {os.strerror(errno.ELOOP)}")
    part = target.with_name(f".{target.name}.{secrets.token_hex(4)}.part")
    with ExitStack() as stack:
        with _told(path):
            if target.exists() and os.name != "nt":  # Windows replaces no file that is open
                old = stack.enter_context(target.open("rb+"))
                stack.enter_context(_locked(old, path))
            raw = stack.enter_context(_closed(part.open("wb")))
        stack.callback(part.unlink, missing_ok=True)
        if path.suffix == ".gz":
            packed = cast("IO[bytes]", gzip.GzipFile(target.name, "wb", fileobj=raw))
            with _closed(packed):
                count = _write(packed, path, episodes)
                with _told(path):
                    packed.close()
        else:
            count = _write(raw, path, episodes)
        with _told(path):
            raw.flush()
            os.fsync(raw.fileno())
            raw.close()
            if not overwrite and target.exists():  # somebody else's, made in the meantime
                raise _exists(path)
            os.replace(part, target)
    return count


def _append(path: Path, episodes: Iterable[Episode]) -> int:
    with ExitStack() as stack:
        while True:
            with _told(path):
                path.open("ab").close()  # there is a file now
                file = stack.enter_context(_closed(path.open("rb+")))
            stack.enter_context(_locked(file, path))
            if os.path.samestat(os.fstat(file.fileno()), path.stat()):
                break
            stack.close()  # the log was replaced while we waited
        with _told(path):
            mend(file, f"log {path}", _ROW_MARK)
        return _write(file, path, episodes)


def _line(episode: Episode) -> bytes:
    row = {
        "schema": SCHEMA,
        "version": VERSION if episode.outcome == "seller_failure" else 1,
        "seed": check_seed(episode.seed),
        "opening": episode.opening,
        "turns": [_turn(turn) for turn in episode.turns],
        "outcome": episode.outcome,
        "customer": episode.customer,
        "policy": episode.policy,
        "metadata": dict(episode.metadata),
    }
    try:
        text = json.dumps(
            row, ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=_plain
        )
        return text.encode() + b"\n"
    # ValueError: NaN, or text that is no Unicode
    except (TypeError, ValueError, RecursionError) as error:
        raise ConvgymError(
            f"the episode of seed {episode.seed} cannot be written as JSON: {error}"
        ) from None


def _plain(value: object) -> object:
    """Return NumPy's numbers and arrays as Python's."""
    if isinstance(value, (np.generic, np.ndarray)):
        return value.tolist()
    raise TypeError(f"Object of type {type(value).__name__} is not JSON serializable")


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
                line = without_byte_order_mark(line)
                if not line.strip():
                    continue
                try:
                    yield number, _episode(line)
                except _Malformed as problem:
                    yield number, _CutOff("the last line has no end") if _cut_off(line) else problem
    except EOFError:
        yield number + 1, _CutOff("the compressed file has no end")
    except (gzip.BadGzipFile, zlib.error) as error:
        raise ConvgymError(f"log {path} is damaged after line {number}: {error}") from None
    except OSError as error:
        raise ConvgymError(f"cannot read the log {path}: {error.strerror}") from None


def _cut_off(line: bytes) -> bool:
    """Return whether a line is the beginning of an episode, not a whole row and nothing else."""
    return not line.endswith(b"\n") and is_cut_off(line, _ROW_MARK) and not whole_rows(line)


@contextmanager
def _open_to_read(path: Path) -> Iterator[IO[bytes]]:
    with path.open("rb") as file:
        # By what it holds: downloads lose the ending, or keep it when they have been unpacked.
        head = file.peek(2)[:2]
        if head != _GZIP and (path.suffix != ".gz" or head[:1] == b"{"):
            yield file
        else:
            with gzip.GzipFile(fileobj=file) as unpacked:
                yield cast("IO[bytes]", unpacked)


def _episode(line: bytes) -> Episode:
    """Return the episode of one line. Raises _Malformed."""
    try:
        row = _ROW.validate_json(line.decode())
    except UnicodeDecodeError as error:
        utf16 = line.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
        hint = ": the file is UTF-16, save it as UTF-8" if utf16 else ""
        raise _Malformed(f"expected UTF-8 text, got byte {line[error.start]:#04x}{hint}") from None
    except ValidationError as error:
        if line.lstrip().startswith(b"["):
            raise _Malformed(
                "expected a JSON object of one episode, got a JSON array: write one episode a line"
            ) from None
        raise _Malformed(_explain(error)) from None
    for field, number in _infinite("metadata", row["metadata"]):
        raise _Malformed(
            f"field {field}: expected a finite number, which is all that JSON has, got {number}:"
            " write null"
        )
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


def _infinite(name: str, value: object) -> Iterator[tuple[str, float]]:
    """Yield the numbers in plain data that are NaN or infinite, with where they are."""
    if isinstance(value, float) and not math.isfinite(value):
        yield name, value
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _infinite(f"{name}.{key}", inner)
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _infinite(f"{name}.{index}", inner)


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
        return f"field {field}: not known in versions 1 to {VERSION}"
    if field == "version":
        return (
            f"field version: this convgym reads versions 1 to {VERSION}, got {problem['input']!r}:"
            " read it with the convgym that wrote it, or a newer one"
        )
    return f"field {field}: {problem['msg']}, got {repr(problem['input'])[:60]}"
