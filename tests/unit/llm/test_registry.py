from __future__ import annotations

import gc
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from convgym.errors import ConvgymError
from convgym.llm import ChatAnswer, ChatRequest, ChatResult, make_backend, register_backend
from convgym.llm.fake_server import Action, ChatServer, Script
from convgym.llm.ledger import Budget, BudgetExhausted
from convgym.llm.openai_backend import OpenAIBackend, OpenAIConfig, ledgers
from convgym.llm.registry import BACKENDS
from convgym.registry import Registry

Serve = Callable[[Script], ChatServer]
Make = Callable[..., ChatRequest]


class Parrot:
    fingerprint = "parrot"
    made = 0

    def __init__(self, words: Sequence[str] = ("Hello.",)) -> None:
        self.words = words
        Parrot.made += 1

    def complete(self, requests: Sequence[ChatRequest]) -> list[ChatResult]:
        return [ChatAnswer(self.words[0]) for _ in requests]

    def close(self) -> None: ...


@pytest.fixture(autouse=True)
def parrot(restored: Callable[[Registry[Any]], None]) -> None:
    restored(BACKENDS)
    register_backend("parrot", Parrot)


def test_equal_arguments_give_the_same_backend(tmp_path: Path) -> None:
    one: Any = make_backend("parrot", words=["a", "b"])
    assert make_backend("parrot", words=["a", "b"]) is one
    assert make_backend("parrot", words=["a"]) is not one
    recording: Any = make_backend("parrot", words=["a", "b"], record=tmp_path / "x.jsonl")
    assert recording.inner is one
    assert make_backend("parrot", words=["a", "b"], record=str(tmp_path / "x.jsonl")) is recording
    assert make_backend("parrot", words=["a", "b"], record=tmp_path / "y.jsonl") is not recording


def test_another_endpoint_of_the_environment_is_another_backend(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    urls = ("http://127.0.0.1:1/v1", "http://127.0.0.1:2/v1", "http://127.0.0.1:1/v1")
    backends = []
    for url in urls:
        monkeypatch.setenv("OPENAI_BASE_URL", url)
        backends.append(make_backend("openai", model="m"))
    first, second, again = backends
    assert first is again is not second


def test_what_nobody_holds_is_made_anew() -> None:
    kept = make_backend("parrot")
    made = Parrot.made
    assert make_backend("parrot") is kept
    assert Parrot.made == made
    del kept
    gc.collect()
    make_backend("parrot")
    assert Parrot.made == made + 1


def test_record_and_replay(tmp_path: Path, request_: Make) -> None:
    path = tmp_path / "x.jsonl"
    answers = make_backend("parrot", record=path).complete([request_()])
    made = Parrot.made
    replay = make_backend("parrot", replay=path)
    assert replay.complete([request_()]) == answers
    assert make_backend("parrot", replay=path) is replay
    assert replay.fingerprint == "parrot"
    assert Parrot.made == made


def test_an_endpoint_is_replayed_without_key_or_network(
    tmp_path: Path, serve: Serve, request_: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x.jsonl"
    server = serve(lambda request: Action(text="Well."))
    backend = make_backend(model="tiny", base_url=server.url, record=path)
    answers = backend.complete([request_()])
    backend.close()
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    assert make_backend(model="tiny", replay=path).complete([request_()]) == answers
    with pytest.raises(ConvgymError, match="asked 'openai/huge', recorded 'openai/tiny'"):
        make_backend(model="huge", replay=path).complete([request_()])
    assert len(server.requests) == 1


def test_a_budget_outlives_its_backend(serve: Serve, request_: Make) -> None:
    server = serve(lambda request: Action())
    options: dict[str, Any] = {"model": "tiny", "base_url": server.url, "budget": {"requests": 2}}
    for _ in range(2):
        backend = make_backend(**options)
        assert isinstance(backend, OpenAIBackend)
        backend.complete([request_()])
        backend.close()
        del backend
    with pytest.raises(BudgetExhausted):
        make_backend(**options).complete([request_()])
    config = OpenAIConfig(model="tiny", base_url=server.url, budget=Budget(requests=2))
    assert ledgers()[config].spent.requests == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": "opnai"}, "unknown chat backend 'opnai'.*did you mean 'openai'"),
        ({"model": "x", "temprature": 1}, "unknown option of backend 'openai' 'temprature'"),
        ({}, "cannot make chat backend 'openai'.*model"),
        ({"model": "x", "budget": {"dollars": 3}}, "unknown budget 'dollars'; known:.*cost"),
        ({"model": "x", "budget": 3}, "budget must be limits by name, got 3"),
        ({"name": "parrot", "colour": "green"}, "cannot make chat backend 'parrot'.*'colour'"),
        ({"name": "parrot", "record": "a", "replay": "b"}, "record and replay exclude each other"),
        ({"model": ["a"]}, "model must be a name"),
    ],
)
def test_mistakes(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConvgymError, match=message):
        make_backend(**options)


OWN = """
class Echo:
    fingerprint = "echo"
    def complete(self, requests): return []
    def close(self): ...

class Deaf:
    fingerprint = "deaf"
    def complete(self): return []
"""


def test_a_backend_of_ones_own(
    install: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "own_backends.py").write_text(OWN)
    kept = make_backend("own_backends:Echo")
    assert make_backend("own_backends:Echo") is kept and kept.fingerprint == "echo"
    install("plug_chat", "chatty", OWN + "Made = Echo", "convgym.backends")
    assert make_backend("chatty").fingerprint == "echo"
    with pytest.raises(ConvgymError, match=r"no chat backend: it lacks close; it has complete\(\)"):
        make_backend("own_backends:Deaf")
    with pytest.raises(ConvgymError, match="cannot import the chat backend 'nowhere_at_all:Echo'"):
        make_backend("nowhere_at_all:Echo")


def test_a_missing_package_is_named() -> None:
    register_backend("absent", "no_such_package_here:Backend")
    with pytest.raises(ConvgymError, match="'absent' needs the package no_such_package_here"):
        make_backend("absent")
