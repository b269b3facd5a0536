"""The file of a recording: its rows, and how several processes read and write it at once.

A recording may hold answers that were paid for, and its path may be mistyped. So a file is never
shortened unless what is cut off is the beginning of a row of ours, left by a program that was
stopped while it wrote; a last row that is whole is kept, with or without its line feed; and a file
that is no recording is refused as it is. Whoever writes holds the file's lock; readers need none.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Literal, NotRequired, TypeAlias

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError, with_config
from typing_extensions import TypedDict

from convgym.errors import ConvgymError, InfrastructureError
from convgym.jsonl import whole_rows, without_byte_order_mark
from convgym.llm.base import ChatAnswer, ChatRequest, ChatResult
from convgym.locking import locked

_STRICT = ConfigDict(extra="forbid", strict=True)
_Count: TypeAlias = Annotated[int, Field(ge=0)]


@with_config(_STRICT)
class _Message(TypedDict):
    role: Literal["system", "user", "assistant"]
    content: str


@with_config(_STRICT)
class _Request(TypedDict):
    messages: list[_Message]
    seed: int
    max_tokens: int
    temperature: float
    schema: dict[str, Any] | None


@with_config(_STRICT)
class _Answer(TypedDict):
    text: str
    prompt_tokens: _Count
    completion_tokens: _Count
    reasoning: NotRequired[str]
    cut: NotRequired[bool]


@with_config(_STRICT)
class Row(TypedDict):
    """One line of a recording."""

    recording: Literal[1]
    backend: str
    request: _Request
    answer: NotRequired[_Answer]
    failure: NotRequired[str]


_ROW = TypeAdapter(Row)
_BEGINNING = b'{"recording": 1, "backend": "'
"""Of every row that was written by us."""
_OURS = b'{"recording": 1'
"""So much of it no other file begins with."""
_LOCK_TIMEOUT = 60.0
"""Seconds for a lock that others hold for the length of one row."""


def request_key(backend: str, request: ChatRequest) -> str:
    """Return the hash that stands for a request to a backend of this fingerprint."""
    return _key(backend, plain_request(request))


def plain_request(request: ChatRequest) -> _Request:
    """Return a request as a row holds it."""
    return {
        "messages": [{"role": m["role"], "content": m["content"]} for m in request.messages],
        "seed": request.seed,
        "max_tokens": request.max_tokens,
        "temperature": float(request.temperature),
        "schema": None if request.schema is None else dict(request.schema),
    }


def _key(backend: str, request: Any) -> str:
    text = json.dumps([backend, request], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _row(backend: str, request: ChatRequest, result: ChatResult) -> Row:
    row: Row = {"recording": 1, "backend": backend, "request": plain_request(request)}
    if isinstance(result, InfrastructureError):
        row["failure"] = str(result)
        return row
    row["answer"] = {
        "text": result.text,
        "prompt_tokens": result.prompt_tokens,
        "completion_tokens": result.completion_tokens,
    }
    if result.reasoning:
        row["answer"]["reasoning"] = result.reasoning
    if result.cut:
        row["answer"]["cut"] = True
    return row


def _parse(line: bytes) -> Row | None:
    """Return the row that a line is, None if it is none."""
    try:
        row = _ROW.validate_python(json.loads(without_byte_order_mark(line)))
    except (ValueError, RecursionError, ValidationError):
        return None
    return row if ("answer" in row) != ("failure" in row) else None


class RecordingFile:
    """The rows of a recording: read as far as they are there, added one by one.

    Threads may share it, and processes the file.

    Attributes:
        path: the file, which need not be there.
        lock: held by a thread that reads or writes.
        results: what counts for each request, by ``request_key``.
        rows: the rows that hold it.

    Raises:
        ConvgymError: for a file that is no recording, or cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lock = threading.RLock()
        self.results: dict[str, ChatResult] = {}
        self.rows: dict[str, Row] = {}
        self._end = 0  # of the last line that was read
        self.read()

    def read(self) -> None:
        """Read the rows that were added since the last time."""
        with self.lock:
            self._read()

    def answers(self, keys: Sequence[str]) -> dict[str, ChatResult]:
        """Return the answers that there are; failures are none."""
        with self.lock:
            results = {key: self.results.get(key) for key in keys}
        return {key: result for key, result in results.items() if isinstance(result, ChatAnswer)}

    def make_ready(self) -> None:
        """Make ready for writing: begin the file, or mend its end.

        Raises:
            ConvgymError: when it cannot be written.
        """
        with self.lock, self._writing():
            self._mend()

    def add(self, key: str, backend: str, request: ChatRequest, result: ChatResult) -> ChatResult:
        """Write one result at the file's end; return the one that counts.

        That is an earlier answer to the same request, if another process has written one.

        Raises:
            ConvgymError: when it cannot be written; the file is as before then.
        """
        row = _row(backend, request, result)
        line = (json.dumps(row, allow_nan=False) + "\n").encode()
        with self.lock, self._writing():
            self._mend()
            self._keep(key, row, result)
            if self.rows[key] is row:
                self._append(line)
            return self.results[key]

    def _read(self) -> bytes:
        """Read whole lines; return what comes after the last one."""
        try:
            with self.path.open("rb") as file:
                size = file.seek(0, os.SEEK_END)
                file.seek(self._end)
                added = file.read()
        except FileNotFoundError:
            self._end = 0  # it may be begun anew
            return b""
        except OSError as error:
            raise ConvgymError(f"cannot read {self.path}: {error.strerror}") from None
        if size < self._end:
            raise ConvgymError(f"{self.path} was shortened by another program while it was in use")
        *lines, rest = added.split(b"\n")
        for line in lines:
            self._take(line)
            self._end += len(line) + 1
        if rest and _parse(rest) is not None:
            self._take(rest)  # whole, but for its line feed, which may be on its way
        elif rest and not self._is_torn(rest):
            raise self._no_recording()
        return rest

    def _is_torn(self, rest: bytes) -> bool:
        """Tell whether the end of the file is the beginning of one row of ours, and no more."""
        if self._end == 0 and len(rest) < len(_OURS):  # it could be anybody's
            return False
        shared = min(len(rest), len(_BEGINNING))
        begins = rest[:shared] == _BEGINNING[:shared]
        return begins and _OURS not in rest[1:] and not whole_rows(rest)

    def _take(self, line: bytes) -> None:
        row = _parse(line)
        if row is None:
            raise self._no_recording()
        answer, failure = row.get("answer"), row.get("failure", "")
        result = InfrastructureError(failure) if answer is None else ChatAnswer(**answer)
        self._keep(_key(row["backend"], row["request"]), row, result)

    def _no_recording(self) -> ConvgymError:
        number = self.path.read_bytes()[: self._end].count(b"\n") + 1
        return ConvgymError(
            f"{self.path} is no recording of a chat model, or damaged at line {number}"
        )

    def _keep(self, key: str, row: Row, result: ChatResult) -> None:
        if not isinstance(self.results.get(key), ChatAnswer):
            self.rows[key], self.results[key] = row, result

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Keep other processes from writing, and tell what keeps us from it."""
        refusal = f"{self.path} is kept locked by another process: record to another file"
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            if not self.path.exists():
                self._end = 0  # it is begun, or begun anew
            with self.path.open("ab", buffering=0) as file, locked(file, refusal, _LOCK_TIMEOUT):
                yield
        except OSError as error:
            raise ConvgymError(f"cannot write {self.path}: {error.strerror}") from None

    def _mend(self) -> None:
        """Bring the file to the end of a line: end a whole row, cut off the beginning of one."""
        rest = self._read()
        with self.path.open("ab", buffering=0) as file:
            if rest and _parse(rest) is not None:
                file.write(b"\n")
                self._end += len(rest) + 1
            elif rest:
                file.truncate(self._end)

    def _append(self, line: bytes) -> None:
        with self.path.open("ab", buffering=0) as file:
            try:
                if file.write(line) < len(line):
                    raise OSError(28, os.strerror(28))  # the disk is full
            except OSError:
                file.truncate(self._end)
                raise
        self._end += len(line)
