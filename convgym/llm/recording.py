"""Recordings of a chat model's answers: kept as they come, used again, replayed without a network.

A recording is JSON Lines, one answer a line (here on several)::

    {"recording": 1, "backend": "openai/gpt-4o-mini",
     "request": {"messages": [{"role": "system", "content": "You are ..."}], "seed": 5,
                 "max_tokens": 200, "temperature": 1.0, "schema": null},
     "answer": {"text": "Hello.", "prompt_tokens": 40, "completion_tokens": 3}}

A request that failed for good has ``"failure": "why"`` in place of the answer. Requests are the
same if they and their backends are, to the letter; the first answer counts, and a failure as long
as there is no answer. A program that is stopped while it writes leaves a last line without its
end, which is skipped in reading and cut off in writing.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, NotRequired, TypeAlias

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError, with_config
from typing_extensions import TypedDict

from convgym.errors import ConvgymError, InfrastructureError
from convgym.llm.base import ChatAnswer, ChatBackend, ChatRequest, ChatResult, EagerBackend

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


@with_config(_STRICT)
class _Row(TypedDict):
    recording: Literal[1]
    backend: str
    request: _Request
    answer: NotRequired[_Answer]
    failure: NotRequired[str]


_ROW = TypeAdapter(_Row)


def request_key(backend: str, request: ChatRequest) -> str:
    """Return the hash that stands for a request to a backend of this fingerprint."""
    return _key(backend, _plain(request))


def _plain(request: ChatRequest) -> _Request:
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


class RecordingBackend:
    """Records what another backend answers, and does not ask it twice.

    Requests whose answer is in the file get that; failures are recorded, but asked again. Threads
    of one process may share the backend.

    Args:
        inner: who answers.
        path: the recording, begun if there is none.

    Raises:
        ConvgymError: when the file is no recording or cannot be written.
    """

    def __init__(self, inner: ChatBackend, path: str | Path) -> None:
        self.inner = inner
        self._recording = _Recording(Path(path))
        self._recording.mend()

    @property
    def fingerprint(self) -> str:
        """That of the backend which answers."""
        return self.inner.fingerprint

    def complete(self, requests: Sequence[ChatRequest]) -> list[ChatResult]:
        """Answer all requests; each that comes several times is asked once."""
        backend = self.fingerprint
        keys = [request_key(backend, request) for request in requests]
        found = self._recording.answers(keys)
        unknown = {
            key: request for key, request in zip(keys, requests, strict=True) if key not in found
        }
        asked = list(unknown.items())
        for i, result in _as_answered(self.inner, [request for _, request in asked]):
            key, request = asked[i]
            found[key] = self._recording.add(key, backend, request, result)
        return [found[key] for key in keys]

    def close(self) -> None:
        """Close the backend which answers."""
        self.inner.close()


class ReplayBackend:
    """Answers from a recording, bit for bit, and asks nobody.

    Args:
        path: the recording.
        fingerprint: the backend whose answers are replayed; None for the only one that there is.

    Raises:
        ConvgymError: when there is no recording, or it holds answers of several backends and
            none is named.
    """

    def __init__(self, path: str | Path, fingerprint: str | None = None) -> None:
        self._recording = _Recording(Path(path))
        backends = sorted({row["backend"] for row in self._recording.rows.values()})
        if fingerprint is None and len(backends) != 1:
            raise ConvgymError(
                f"{path} holds answers of {len(backends)} backends"
                + (f", {', '.join(backends)}: name one" if backends else ": record a run first")
            )
        self.fingerprint = fingerprint or backends[0]

    def complete(self, requests: Sequence[ChatRequest]) -> list[ChatResult]:
        """Return the recorded results.

        Raises:
            ConvgymError: when a request is not in the recording; it names the nearest recorded
                one and where the two first differ.
        """
        return [self._find(request) for request in requests]

    def _find(self, request: ChatRequest) -> ChatResult:
        recording, key = self._recording, request_key(self.fingerprint, request)
        with recording.lock:
            if key not in recording.results:
                recording.read()  # it may have grown
            if key in recording.results:
                return recording.results[key]
            wanted: _Row = {
                "recording": 1,
                "backend": self.fingerprint,
                "request": _plain(request),
            }
            raise ConvgymError(
                f"{recording.path} has no answer to a request of this run: record it again."
                f" {_nearest(wanted, list(recording.rows.values()))}"
            )

    def close(self) -> None:
        """Do nothing."""


class _Recording:
    """The lines of a recording: read as far as they are there, added one by one."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lock = threading.RLock()
        self.results: dict[str, ChatResult] = {}
        self.rows: dict[str, _Row] = {}
        self._end = 0
        self.read()

    def read(self) -> None:
        """Read the lines that were added since the last time."""
        try:
            with self.path.open("rb") as file:
                file.seek(self._end)
                added = file.read()
        except FileNotFoundError:
            return
        except OSError as error:
            raise ConvgymError(f"cannot read {self.path}: {error.strerror}") from None
        for line in added.splitlines(keepends=True):
            if not line.endswith(b"\n"):
                return
            self._take(line)
            self._end += len(line)

    def _take(self, line: bytes) -> None:
        try:
            row = _ROW.validate_python(json.loads(line))
            answer, failure = row.get("answer"), row.get("failure")
            if (answer is None) == (failure is None):
                raise ValueError
        except (ValueError, ValidationError):
            number = self.path.read_bytes()[: self._end].count(b"\n") + 1
            raise ConvgymError(
                f"{self.path} is no recording of a chat model, or damaged at line {number}"
            ) from None
        self._keep(
            _key(row["backend"], row["request"]),
            row,
            InfrastructureError(failure) if answer is None else ChatAnswer(**answer),
        )

    def _keep(self, key: str, row: _Row, result: ChatResult) -> None:
        if not isinstance(self.results.get(key), ChatAnswer):
            self.rows[key], self.results[key] = row, result

    def answers(self, keys: Sequence[str]) -> dict[str, ChatResult]:
        """Return the answers that there are; failures are none."""
        with self.lock:
            found = {key: self.results.get(key) for key in keys}
        return {key: result for key, result in found.items() if isinstance(result, ChatAnswer)}

    def mend(self) -> None:
        """Make ready for writing: cut off what was left of a line, see whether writing works."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("ab") as file:
                if file.tell() > self._end:
                    file.truncate(self._end)
        except OSError as error:
            raise ConvgymError(f"cannot write {self.path}: {error.strerror}") from None

    def add(self, key: str, backend: str, request: ChatRequest, result: ChatResult) -> ChatResult:
        """Write one result at the file's end; return the one that counts."""
        row: _Row = {"recording": 1, "backend": backend, "request": _plain(request)}
        if isinstance(result, ChatAnswer):
            row["answer"] = {
                "text": result.text,
                "prompt_tokens": result.prompt_tokens,
                "completion_tokens": result.completion_tokens,
            }
        else:
            row["failure"] = str(result)
        line = (json.dumps(row, allow_nan=False) + "\n").encode()
        with self.lock:
            self._keep(key, row, result)
            if self.rows[key] is row:
                try:
                    with self.path.open("ab", buffering=0) as file:
                        file.write(line)
                except OSError as error:
                    raise ConvgymError(f"cannot write {self.path}: {error.strerror}") from None
            return self.results[key]


def _as_answered(
    backend: ChatBackend, requests: Sequence[ChatRequest]
) -> Iterator[tuple[int, ChatResult]]:
    if not requests:
        return iter(())
    if isinstance(backend, EagerBackend):
        return backend.as_answered(requests)
    return enumerate(backend.complete(requests))


def _nearest(wanted: _Row, rows: Sequence[_Row]) -> str:
    """Say which recorded row is most like the wanted one, and where they first differ."""
    if not rows:
        return "It is empty."
    here = _parts(wanted)
    there = max((_parts(row) for row in rows), key=lambda parts: _agreement(here, parts))
    same, letters = _agreement(here, there)
    (place, asked), (at, recorded) = here[same], there[same]
    if at == place:
        shown = slice(max(0, letters - 20), letters + 40)
        asked, recorded = asked[shown], recorded[shown]
    else:  # one conversation is longer
        longer = place.startswith("message")
        place = place if longer else at
        asked, recorded = ("one more", "none") if longer else ("none", "one more")
    return f"The nearest one differs first at {place}: asked {asked!r}, recorded {recorded!r}"


def _parts(row: _Row) -> list[tuple[str, str]]:
    """Return what makes a request, part by part, the most telling first."""
    request = row["request"]
    return [
        ("backend", row["backend"]),
        *(
            (f"message {i}", f"{message['role']}: {message['content']}")
            for i, message in enumerate(request["messages"])
        ),
        ("seed", str(request["seed"])),
        ("max_tokens", str(request["max_tokens"])),
        ("temperature", str(request["temperature"])),
        ("schema", json.dumps(request["schema"])),
    ]


def _agreement(one: Sequence[tuple[str, str]], other: Sequence[tuple[str, str]]) -> tuple[int, int]:
    """Return how many parts agree, and how many letters of the first that does not."""
    same = _prefix(one, other)
    if same >= min(len(one), len(other)):
        return same, 0
    return same, _prefix(one[same][1], other[same][1])


def _prefix(one: Sequence[object], other: Sequence[object]) -> int:
    """Return how many items two sequences have in common from their beginnings on."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((i for i, (a, b) in pairs if a != b), min(len(one), len(other)))
