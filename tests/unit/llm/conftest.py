"""A chat endpoint that does as a test tells it, and requests to send there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import openai.resources.chat  # noqa: F401 - takes seconds, which no test is to count
import pytest

from convgym.llm import ChatRequest
from convgym.llm.fake_server import ChatServer, Script
from convgym.llm.openai_backend import OpenAIBackend, OpenAIConfig

KEY = "sk-very-secret-0123456789"


@pytest.fixture
def serve() -> Iterator[Callable[[Script], ChatServer]]:
    with ExitStack() as stack:
        yield lambda script: stack.enter_context(ChatServer(script))


@pytest.fixture
def connect(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., OpenAIBackend]]:
    """Return backends with a key and short waits; they are closed before the servers are."""
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    backends: list[OpenAIBackend] = []

    def make(server: ChatServer, **options: Any) -> OpenAIBackend:
        quick: dict[str, Any] = {"first_wait": 0.01, "longest_wait": 0.05, "timeout": 5.0}
        config = OpenAIConfig(model="tiny", base_url=server.url, **{**quick, **options})
        backends.append(OpenAIBackend(config))
        return backends[-1]

    yield make
    for backend in backends:
        backend.close()


@pytest.fixture
def request_() -> Callable[..., ChatRequest]:
    def make(words: str = "Hi.", seed: int = 0, **options: Any) -> ChatRequest:
        messages = ({"role": "system", "content": "Be brief."}, {"role": "user", "content": words})
        return ChatRequest(messages, seed, **options)  # type: ignore[arg-type]

    return make
