"""Requests that are asked singly, side by side: as ``complete``, but nobody waits for others."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from convgym.errors import ConvgymError, InfrastructureError
from convgym.llm import ChatAnswer, ChatRequest, ChatResult
from convgym.llm.base import AsyncBackend
from convgym.llm.fake_server import Action, ChatServer, Script
from convgym.llm.openai_backend import OpenAIBackend
from convgym.llm.recording import AsyncRecordingBackend, RecordingBackend
from convgym.rollout import rollout
from convgym.sellers import make_seller

Serve = Callable[[Script], ChatServer]
Connect = Callable[..., OpenAIBackend]
Make = Callable[..., ChatRequest]

UNKNOWN = Action(status=400, body=b'{"error": {"message": "bad thing"}}')


def ask(backend: AsyncBackend, requests: Sequence[ChatRequest]) -> list[Any]:
    async def all_of_them() -> list[Any]:
        asked = (backend.complete_async(request) for request in requests)
        return await asyncio.gather(*asked, return_exceptions=True)

    return asyncio.run(all_of_them())


def words(request: dict[str, Any]) -> str:
    return str(request["messages"][-1]["content"])


def test_answers_are_those_of_complete(serve: Serve, connect: Connect, request_: Make) -> None:
    server = serve(lambda request: Action(text=f"You said {words(request)}", latency=0.05))
    backend = connect(server, concurrency=4)
    requests = [request_(f"{i}") for i in range(8)]
    assert isinstance(backend, AsyncBackend)
    assert ask(backend, requests) == backend.complete(requests)
    assert server.most == 4


@pytest.mark.parametrize("answered", ["1", "nobody"])
def test_a_refusal_is_a_mistake_only_where_nobody_is_answered(
    answered: str, serve: Serve, connect: Connect, request_: Make
) -> None:
    def script(request: dict[str, Any]) -> Action:
        return Action(latency=0.1) if words(request) == answered else UNKNOWN

    results = ask(connect(serve(script), concurrency=8), [request_(f"{i}") for i in range(3)])
    kind = InfrastructureError if answered == "1" else ConvgymError
    assert isinstance(results[0], kind)
    assert isinstance(results[2], kind)
    assert "bad thing" in str(results[0])
    assert isinstance(results[1], ChatAnswer if answered == "1" else ConvgymError)


def test_after_a_wrong_key_nothing_more_is_sent_and_a_new_run_may_begin(
    serve: Serve, connect: Connect, request_: Make
) -> None:
    server = serve(lambda request: Action(status=401, latency=0.02))
    backend = connect(server, concurrency=2)
    results = ask(backend, [request_(f"{i}") for i in range(10)])
    assert all("refuses the key" in str(result) for result in results)
    assert len(server.requests) <= 3
    server.script = lambda request: Action()
    assert isinstance(ask(backend, [request_()])[0], ChatAnswer)


class Model:
    """Answers singly, and counts."""

    fingerprint = "model"

    def __init__(self) -> None:
        self.asked = 0

    def complete(self, requests: Sequence[ChatRequest]) -> list[ChatResult]:
        raise AssertionError("asked together")

    async def complete_async(self, request: ChatRequest) -> ChatResult:
        self.asked += 1
        await asyncio.sleep(0.01)
        if request.seed == 5:
            return InfrastructureError("out of order")
        say = json.dumps({"thought": "", "decision": "continue", "say": f"No {request.seed}."})
        return ChatAnswer(say)

    def close(self) -> None: ...


def test_equal_requests_are_asked_once_and_kept(tmp_path: Path, request_: Make) -> None:
    model = Model()
    backend = AsyncRecordingBackend(model, tmp_path / "talks.jsonl")
    requests = [request_(seed=seed) for seed in (1, 2, 1, 1, 2, 5)]
    first = ask(backend, requests)
    assert model.asked == 3
    assert first[0] == first[2] != first[1]
    assert ask(backend, requests)[:5] == first[:5]
    assert model.asked == 4  # the failure alone is asked again
    again = RecordingBackend(model, tmp_path / "talks.jsonl")
    assert again.complete(requests[:5]) == first[:5]


def test_customers_with_such_a_model_wait_for_nobody(tmp_path: Path) -> None:
    options = {"backend": AsyncRecordingBackend(Model(), tmp_path / "talks.jsonl")}
    environment = {"customer": "llm", "customer_options": options, "max_turns": 2}
    episodes = rollout(make_seller("silent"), [1, 2, 1], environment=environment)
    assert [episode.outcome for episode in episodes] == ["turn_limit"] * 3
    assert episodes[0].messages() == episodes[2].messages() != episodes[1].messages()
