from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import Callable
from typing import Any

import openai
import pytest

from convgym.errors import ConvgymError, InfrastructureError
from convgym.llm import ChatAnswer, ChatRequest
from convgym.llm.errors import NoAnswer
from convgym.llm.fake_server import Action, ChatServer, Script
from convgym.llm.ledger import Budget, BudgetExhausted, Ledger, Usage, worst_case
from convgym.llm.openai_backend import OpenAIBackend, OpenAIConfig

Serve = Callable[[Script], ChatServer]
Connect = Callable[..., OpenAIBackend]
Make = Callable[..., ChatRequest]


def test_costs() -> None:
    usage = Usage(2, 1_000_000, 500_000) + Usage(1, 0, 500_000) - Usage(1)
    assert usage == Usage(2, 1_000_000, 1_000_000)
    assert usage.tokens == 2_000_000
    assert usage.cost(Budget(prompt_price=0.15, completion_price=0.6)) == pytest.approx(0.75)


def test_the_worst_case_covers_any_tokenizer_of_bytes(request_: Make) -> None:
    request = request_("é" * 100, max_tokens=7, schema={"type": "object"})
    worst = worst_case(request)
    assert worst.requests == 1
    assert worst.completion_tokens == 7
    assert worst.prompt_tokens >= len("Be brief.") + 200 + len('{"type": "object"}')
    assert worst_case(request_("\ud800")).prompt_tokens  # whatever a seller says


@pytest.mark.parametrize(
    ("budget", "fits"),
    [
        (Budget(requests=3), 3),
        (Budget(tokens=350), 3),
        (Budget(cost=0.035, prompt_price=100.0, completion_price=100.0), 3),
        (Budget(tokens=99), 0),
        (Budget(requests=0), 0),
    ],
)
def test_never_more_than_the_budget(budget: Budget, fits: int) -> None:
    ledger, worst = Ledger(budget), Usage(1, 60, 40)
    for _ in range(fits):
        assert ledger.reserve(worst)
    if fits:
        assert not ledger.reserve(worst)  # what is under way may turn out cheaper
    for _ in range(fits):
        ledger.settle(worst, worst)
    with pytest.raises(BudgetExhausted, match="does not cover another request"):
        ledger.reserve(worst)
    assert ledger.spent == Usage(fits, 60 * fits, 40 * fits)


def test_the_worst_case_learns_from_what_was_reported() -> None:
    ledger, worst = Ledger(Budget(tokens=1000)), Usage(1, 60, 40)
    assert ledger.reserve(worst, first_alone=True)
    assert not ledger.reserve(worst, first_alone=True)  # nobody knows what attempts take
    ledger.settle(worst, Usage(1, 60, 240))
    assert ledger.reserve(worst, first_alone=True)  # 300 spent, 300 for this one
    assert ledger.reserve(worst, first_alone=True)  # and for this one
    assert not ledger.reserve(worst, first_alone=True)
    for _ in range(2):
        ledger.settle(worst, Usage(1, 60, 240))
    with pytest.raises(BudgetExhausted, match="after 3 requests with 900 tokens"):
        ledger.reserve(worst)


def test_without_a_limit_of_tokens_nobody_waits() -> None:
    ledger, worst = Ledger(Budget(requests=9)), Usage(1, 60, 40)
    assert all(ledger.reserve(worst, first_alone=True) for _ in range(9))


def test_a_server_that_exceeds_max_tokens_is_found_out_by_one_attempt(
    serve: Serve, connect: Connect, request_: Make
) -> None:
    body = {"choices": [{"message": {"content": "Hello."}}]}
    body["usage"] = {"prompt_tokens": 10, "completion_tokens": 5000}  # type: ignore[assignment]
    server = serve(lambda request: Action(body=json.dumps(body).encode(), latency=0.02))
    backend = connect(server, budget=Budget(tokens=12_000))
    with pytest.raises(BudgetExhausted):
        backend.complete([request_(str(i)) for i in range(20)])
    assert backend.ledger.spent == Usage(2, 20, 10_000)


def test_tokens_that_nobody_counts_use_up_a_budget(
    serve: Serve, connect: Connect, request_: Make
) -> None:
    body = {"choices": [{"message": {"content": "Hello."}}]}
    body["usage"] = {"prompt_tokens": 0, "completion_tokens": -1}  # type: ignore[assignment]
    server = serve(lambda request: Action(body=json.dumps(body).encode()))
    worst = worst_case(request_())
    backend = connect(server, budget=Budget(tokens=3 * worst.tokens))
    with pytest.raises(BudgetExhausted, match="after 3 requests"):
        backend.complete([request_()] * 20)
    assert len(server.requests) == 3


def test_room_that_is_given_back_is_used() -> None:
    ledger, worst = Ledger(Budget(tokens=150)), Usage(1, 60, 40)
    for _ in range(5):
        assert ledger.reserve(worst)
        assert not ledger.reserve(worst)
        ledger.settle(worst, Usage(1, 5, 5))
    assert ledger.spent == Usage(5, 25, 25)
    assert ledger.reserve(worst)


def test_threads_share_one_ledger() -> None:
    ledger, worst, sent = Ledger(Budget(requests=500)), Usage(1, 1, 1), []

    def send() -> None:
        try:
            while True:
                if ledger.reserve(worst):
                    sent.append(1)
                    ledger.settle(worst, worst)
        except BudgetExhausted:
            pass

    threads = [threading.Thread(target=send) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(sent) == ledger.spent.requests == 500


@pytest.mark.parametrize(
    ("budget", "message"),
    [
        ({"requests": -1}, "requests must be a number from 0 up, got -1"),
        ({"tokens": "many"}, "tokens must be a number"),
        ({"cost": True}, "cost must be a number"),
        ({"cost": 1.0}, "needs prompt_price and completion_price"),
    ],
)
def test_mistakes(budget: dict[str, Any], message: str) -> None:
    with pytest.raises(ConvgymError, match=message):
        Budget(**budget)


def test_a_backend_stops_at_its_budget_and_says_so(
    serve: Serve, connect: Connect, request_: Make
) -> None:
    server = serve(lambda request: Action(text="Well.", latency=0.01))
    backend = connect(server, budget=Budget(requests=7), concurrency=3)
    answered = []
    with pytest.raises(
        BudgetExhausted, match=r"budget of 7 requests.*after 7 requests with 28 tok"
    ):
        for i, result in backend.as_answered([request_(str(i)) for i in range(20)]):
            assert isinstance(result, ChatAnswer)
            answered.append(i)
    assert len(answered) == len(server.requests) == 7
    assert backend.ledger.spent == Usage(7, 21, 7)
    with pytest.raises(BudgetExhausted):
        backend.complete([request_()])
    assert len(server.requests) == 7


def test_tokens_under_way_count_at_their_worst(
    serve: Serve, connect: Connect, request_: Make
) -> None:
    server = serve(lambda request: Action(text="Well.", latency=0.05))
    room = worst_case(request_()).tokens
    backend = connect(server, budget=Budget(tokens=2 * room + room // 2))
    backend.complete([request_()] * 10)
    assert server.most == 2
    assert backend.ledger.spent.tokens == 40


@pytest.mark.parametrize(
    ("action", "spent"),
    [
        (Action(text="a b"), Usage(1, 3, 2)),
        (Action(text=""), Usage(1, 3, 0)),
        (Action(status=500), Usage(1)),
        (Action(text="a b", usage=False), None),
        (Action(fault="hang"), None),
        (Action(fault="drip"), None),
        (Action(body=b"Hello."), None),
    ],
)
def test_what_is_not_known_is_booked_at_its_worst(
    action: Action, spent: Usage | None, serve: Serve, connect: Connect, request_: Make
) -> None:
    backend = connect(serve(lambda request: action), retries=0, timeout=0.2)
    backend.complete([request_()])
    assert backend.ledger.spent == (spent or worst_case(request_()))


def test_retries_are_paid_for(serve: Serve, connect: Connect, request_: Make) -> None:
    server = serve(lambda request: Action(text=""))
    backend = connect(server, retries=4, budget=Budget(requests=8))
    (failure,) = backend.complete([request_()])
    assert isinstance(failure, InfrastructureError)
    with pytest.raises(BudgetExhausted):
        backend.complete([request_()])
    assert len(server.requests) == 8


@pytest.mark.parametrize(
    ("cause", "requests"),
    [
        ("ConnectError", 0),
        ("ConnectTimeout", 0),
        ("PoolTimeout", 0),
        ("ReadTimeout", 1),
        ("RemoteProtocolError", 1),
    ],
)
def test_what_never_reached_the_server_is_not_booked(
    cause: str, requests: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-any")
    backend = OpenAIBackend(OpenAIConfig(model="any", base_url="http://127.0.0.1:1/v1", retries=0))
    kind: Any = openai.APITimeoutError if "Timeout" in cause else openai.APIConnectionError

    class Client:
        async def post(self, *args: object, **options: object) -> bytes:
            raise kind(request=None) from type(cause, (Exception,), {})()

    request = ChatRequest(({"role": "user", "content": "Hi."},), 0)
    with pytest.raises(NoAnswer):
        asyncio.run(backend._send(Client(), request, {}))  # type: ignore[arg-type]
    assert backend.ledger.spent.requests == requests


def test_a_refused_connection_costs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-any")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/v1"
        config = OpenAIConfig(model="any", base_url=url, retries=1, first_wait=0.01)
        backend = OpenAIBackend(config)
        (result,) = backend.complete([ChatRequest(({"role": "user", "content": "Hi."},), 0)])
        backend.close()
    assert "no connection" in str(result)
    assert backend.ledger.spent.requests == 0
