"""Backends by name, each opened once in a process for all who want the same one."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeAlias, cast
from weakref import WeakValueDictionary

from convgym.contracts import call, described, require
from convgym.errors import ConvgymError
from convgym.llm.base import AsyncBackend, ChatBackend
from convgym.llm.recording import AsyncRecordingBackend, RecordingBackend, ReplayBackend
from convgym.registry import Entry, Registry

BackendFactory: TypeAlias = Callable[..., ChatBackend]


def _factory(thing: object, spec: str) -> BackendFactory:
    if not callable(thing):
        raise ConvgymError(f"chat backend {spec!r} must be a factory, got {described(thing)}")
    return cast(BackendFactory, thing)


BACKENDS: Registry[BackendFactory] = Registry(
    "chat backend",
    "convgym.backends",
    {
        "openai": Entry(
            "convgym.llm.openai_backend:openai_backend",
            "any OpenAI-compatible endpoint, near or far",
        ),
        "transformers": Entry(
            "convgym.llm.local.transformers_backend:TransformersBackend",
            "a chat model in this process, without a server",
        ),
    },
    _factory,
    extra="llm,train",
)
"""Chat backends by name."""

_LOCK = threading.RLock()
_OPEN: WeakValueDictionary[tuple[Any, ...], ChatBackend] = WeakValueDictionary()


def register_backend(name: str, factory: str | BackendFactory) -> None:
    """Make ``factory``, or what is at ``"package.module:factory"``, known; see ``Registry``."""
    BACKENDS.register(name, factory)


def make_backend(
    name: str = "openai",
    *,
    record: str | Path | None = None,
    replay: str | Path | None = None,
    **options: Any,
) -> ChatBackend:
    """Return a chat model, the same one for the same arguments as long as anybody holds it.

    So all customers of an environment share connections, places for requests under way, books and
    recording. What nobody holds any more is closed.

    Args:
        name: a name or ``"package.module:factory"``, see ``convgym.registry``: ``"openai"`` for
            any OpenAI-compatible endpoint, with the fields of
            ``convgym.llm.openai_backend.OpenAIConfig`` as options (``budget`` may be a mapping), or
            ``"transformers"`` for a model in this process.
        record: a file to record the answers in; answers that are there are not asked for again.
        replay: a file to take all answers from, without opening the backend.
        **options: of the backend.

    Raises:
        ConvgymError: for an unknown name or option, a value that cannot be, a missing package, or
            files that are no recordings.
    """
    BACKENDS.require_known(name)
    if record is not None and replay is not None:
        raise ConvgymError("record and replay exclude each other: drop one")
    for what, file in (("record", record), ("replay", replay)):
        if not isinstance(file, str | Path | None):
            raise ConvgymError(f"{what} must be a file, got {repr(file)[:60]}")
    # An endpoint that the environment names is another one when the environment names another.
    key = (os.getpid(), name, os.environ.get("OPENAI_BASE_URL"), _frozen(options))
    if replay is not None:
        path = Path(replay).absolute()
        fingerprint = _fingerprint(name, options)
        return _shared(("replay", path, *key), lambda: ReplayBackend(path, fingerprint))
    backend = _shared(key, lambda: _make(name, options))
    if record is not None:
        path = Path(record).absolute()
        return _shared(("record", path, *key), lambda: _recording(backend, path))
    return backend


def _shared(key: tuple[Any, ...], make: Callable[[], ChatBackend]) -> ChatBackend:
    with _LOCK:
        backend = _OPEN.get(key)
        if backend is None:
            backend = _OPEN[key] = make()
        return backend


def _make(name: str, options: dict[str, Any]) -> ChatBackend:
    backend = call(BACKENDS.resolve(name), options, f"chat backend {name!r}")
    require(backend, ChatBackend, f"{described(backend)} is no chat backend")
    return backend


def _recording(backend: ChatBackend, path: Path) -> ChatBackend:
    if isinstance(backend, AsyncBackend):
        return AsyncRecordingBackend(backend, path)
    return RecordingBackend(backend, path)


def _fingerprint(name: str, options: Mapping[str, Any]) -> str | None:
    """Return the fingerprint a backend would have, as far as that shows without opening it."""
    if name != "openai" or "model" not in options:
        return None
    from convgym.llm.openai_backend import fingerprint

    return fingerprint(options["model"], options.get("extra_body"))


def _frozen(value: Any) -> Any:
    """Return plain data as something that can be a key."""
    if isinstance(value, Mapping):
        return tuple(sorted((name, _frozen(each)) for name, each in value.items()))
    return tuple(map(_frozen, value)) if isinstance(value, (list, tuple)) else value
