"""Recordings of a chat model's answers: kept as they come, used again, replayed without a network.

A recording is JSON Lines, one answer a line (here on several)::

    {"recording": 1, "backend": "openai/gpt-4o-mini",
     "request": {"messages": [{"role": "system", "content": "You are ..."}], "seed": 5,
                 "max_tokens": 200, "temperature": 1.0, "schema": null},
     "answer": {"text": "Hello.", "prompt_tokens": 40, "completion_tokens": 3}}

A request that failed for good has ``"failure": "why"`` in place of the answer. What a model thought
besides stands in the answer as ``"reasoning"``, and ``"cut": true`` where ``max_tokens`` ended it.
Requests are the same if they and their backends are, to the letter; the first answer counts, and a
failure as long as there is no answer. Several processes may write one recording, and read it
meanwhile (``convgym.llm.recording_file``).
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from convgym.errors import ConvgymError
from convgym.llm.base import AsyncBackend, ChatBackend, ChatRequest, ChatResult, EagerBackend
from convgym.llm.recording_file import RecordingFile, Row, plain_request, request_key

__all__ = ["AsyncRecordingBackend", "RecordingBackend", "ReplayBackend", "request_key"]


class RecordingBackend:
    """Records what another backend answers, and does not ask it twice.

    Requests whose answer is in the file get that, also if another process wrote it meanwhile;
    failures are recorded, but asked again. Threads may share the backend, and processes the file.

    Args:
        inner: who answers.
        path: the recording, begun if there is none.

    Raises:
        ConvgymError: when the file is no recording or cannot be written.
    """

    def __init__(self, inner: ChatBackend, path: str | Path) -> None:
        self.inner = inner
        self._recording = RecordingFile(Path(path))
        self._recording.make_ready()

    @property
    def fingerprint(self) -> str:
        """That of the backend which answers."""
        return self.inner.fingerprint

    def complete(self, requests: Sequence[ChatRequest]) -> list[ChatResult]:
        """Answer all requests; each that comes several times is asked once."""
        backend = self.fingerprint
        keys = [request_key(backend, request) for request in requests]
        self._recording.read()
        answers = self._recording.answers(keys)
        unknown = {
            key: request for key, request in zip(keys, requests, strict=True) if key not in answers
        }
        asked = list(unknown.items())
        for i, result in _as_answered(self.inner, [request for _, request in asked]):
            key, request = asked[i]
            answers[key] = self._recording.add(key, backend, request, result)
        return [answers[key] for key in keys]

    def close(self) -> None:
        """Close the backend which answers."""
        self.inner.close()


class AsyncRecordingBackend(RecordingBackend):
    """The same in front of a backend that answers single requests."""

    inner: AsyncBackend

    def __init__(self, inner: AsyncBackend, path: str | Path) -> None:
        super().__init__(inner, path)
        self._asked: dict[str, asyncio.Future[ChatResult]] = {}

    async def complete_async(self, request: ChatRequest) -> ChatResult:
        """Answer one request; what others have asked already, and wait for, is not asked again.

        All who wait do so in one event loop.
        """
        key = request_key(self.fingerprint, request)
        if key not in self._asked:
            task = asyncio.ensure_future(self._look_up(key, request))
            self._asked[key] = task
            task.add_done_callback(partial(self._answered, key))
        return await asyncio.shield(self._asked[key])

    def _answered(self, key: str, task: asyncio.Future[ChatResult]) -> None:
        del self._asked[key]
        if not task.cancelled():
            task.exception()  # whoever asked may have gone: then nobody is to be told of it

    async def _look_up(self, key: str, request: ChatRequest) -> ChatResult:
        self._recording.read()
        known = self._recording.answers([key])
        if key in known:
            return known[key]
        result = await self.inner.complete_async(request)
        return self._recording.add(key, self.fingerprint, request, result)


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
        self._recording = RecordingFile(Path(path))
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
            wanted: Row = {
                "recording": 1,
                "backend": self.fingerprint,
                "request": plain_request(request),
            }
            raise ConvgymError(
                f"{recording.path} has no answer to a request of this run: record it again."
                f" {_nearest(wanted, list(recording.rows.values()))}"
            )

    def close(self) -> None:
        """Do nothing."""


def _as_answered(
    backend: ChatBackend, requests: Sequence[ChatRequest]
) -> Iterator[tuple[int, ChatResult]]:
    if not requests:
        return iter(())
    if isinstance(backend, EagerBackend):
        return backend.as_answered(requests)
    return enumerate(backend.complete(requests))


def _nearest(wanted: Row, rows: Sequence[Row]) -> str:
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


def _parts(row: Row) -> list[tuple[str, str]]:
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


def _agreement(
    parts: Sequence[tuple[str, str]], other_parts: Sequence[tuple[str, str]]
) -> tuple[int, int]:
    """Return how many parts agree, and how many letters of the first that does not."""
    same = _prefix(parts, other_parts)
    if same >= min(len(parts), len(other_parts)):
        return same, 0
    return same, _prefix(parts[same][1], other_parts[same][1])


def _prefix(items: Sequence[object], other_items: Sequence[object]) -> int:
    """Return how many items two sequences have in common from their beginnings on."""
    pairs = enumerate(zip(items, other_items, strict=False))
    return next((i for i, (a, b) in pairs if a != b), min(len(items), len(other_items)))
