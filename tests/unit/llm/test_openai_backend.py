from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Callable
from typing import Any

import pytest

from convgym.errors import ConvgymError, InfrastructureError
from convgym.llm import ChatAnswer, ChatRequest
from convgym.llm.fake_server import Action, ChatServer, Script
from convgym.llm.ledger import Usage
from convgym.llm.openai_backend import OpenAIBackend, OpenAIConfig

KEY = "sk-very-secret-0123456789"

Serve = Callable[[Script], ChatServer]
Connect = Callable[..., OpenAIBackend]
Make = Callable[..., ChatRequest]

FAULTS: dict[str, Action] = {
    "too many requests": Action(status=429),
    "too many requests, wait": Action(status=429, headers={"retry-after": "0.02"}),
    "too many requests, wait for a date": Action(
        status=429, headers={"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}
    ),
    "too many requests, wait for nonsense": Action(status=429, headers={"retry-after": "soon"}),
    "request time-out": Action(status=408),
    "server error": Action(status=500),
    "server error in HTML": Action(status=503, body=b"<html>Sorry</html>"),
    "hang": Action(fault="hang"),
    "slow drip": Action(fault="drip"),
    "dropped connection": Action(fault="drop"),
    "truncated": Action(fault="truncate"),
    "truncated JSON": Action(body=b'{"choices": [{"message": {"role": "assis'),
    "no JSON": Action(body=b"Hello."),
    "nothing at all": Action(body=b""),
    "JSON of another kind": Action(body=b"[1, 2]"),
    "JSON null": Action(body=b"null"),
    "JSON without choices": Action(body=b'{"choices": []}'),
    "choices of another kind": Action(body=b'{"choices": [3]}'),
    "an error in disguise": Action(body=b'{"error": {"message": "overloaded"}}'),
    "empty answer": Action(text=""),
    "blank answer": Action(text=" \n"),
    "no text": Action(text=None),
    "wrong role": Action(role="user"),
}


def first(faults: int, fault: Action, then: Action = Action(text="Well.")) -> Script:  # noqa: B008
    """Return a script that fails so many times and goes well from then on."""
    count = iter(range(10**9))
    return lambda request: fault if next(count) < faults else then


@pytest.mark.parametrize("name", FAULTS)
def test_what_may_pass_is_tried_again(
    name: str, serve: Serve, connect: Connect, request_: Make
) -> None:
    server = serve(first(2, FAULTS[name]))
    backend = connect(server, timeout=0.3)
    started = time.monotonic()
    (answer,) = backend.complete([request_()])
    assert isinstance(answer, ChatAnswer), answer
    assert answer.text == "Well."
    assert len(server.requests) == 3
    assert time.monotonic() - started < 2
    assert backend.ledger.spent.requests == 3


@pytest.mark.parametrize("name", FAULTS)
def test_what_does_not_pass_has_failed(
    name: str, serve: Serve, connect: Connect, request_: Make
) -> None:
    server = serve(lambda request: FAULTS[name])
    (failure,) = connect(server, timeout=0.3, retries=1).complete([request_()])
    assert isinstance(failure, InfrastructureError)
    assert str(failure).startswith("openai/tiny: ")
    assert str(failure).endswith("(2 attempts)")
    assert len(str(failure).splitlines()) == 1
    assert len(server.requests) == 2


def test_a_server_that_is_not_there(connect: Connect, request_: Make) -> None:
    with ChatServer(lambda request: Action()) as server:
        pass
    backend = connect(server, retries=2)
    (failure,) = backend.complete([request_()])
    assert isinstance(failure, InfrastructureError)
    assert "no connection" in str(failure)
    assert backend.ledger.spent == Usage()  # nothing was sent


def test_one_failure_leaves_the_others_alone(
    serve: Serve, connect: Connect, request_: Make
) -> None:
    def script(request: dict[str, Any]) -> Action:
        words = request["messages"][-1]["content"]
        return Action(status=500) if words == "3" else Action(text=f"{words}!")

    results = connect(serve(script), retries=1).complete([request_(str(i)) for i in range(6)])
    assert isinstance(results.pop(3), InfrastructureError)
    assert [getattr(result, "text", None) for result in results] == ["0!", "1!", "2!", "4!", "5!"]


def test_the_request_as_it_is_sent(serve: Serve, connect: Connect, request_: Make) -> None:
    server = serve(lambda request: Action(text="a b c"))
    schema = {"type": "object", "properties": {}}
    request = request_("Say \ud800 it.", 7, max_tokens=9, temperature=0.5, schema=schema)
    (answer,) = connect(server).complete([request])
    assert answer == ChatAnswer("a b c", prompt_tokens=5, completion_tokens=3)
    (sent,) = server.requests
    assert sent["messages"][1] == {"role": "user", "content": "Say ? it."}
    assert (sent["model"], sent["seed"], sent["max_tokens"]) == ("tiny", 7, 9)
    assert sent["temperature"] == 0.5
    assert sent["response_format"]["json_schema"]["schema"] == schema
    assert server.keys == [f"Bearer {KEY}"]


def test_servers_that_sample_by_seed_are_not_asked_the_same_after_an_empty_answer(
    serve: Serve, connect: Connect, request_: Make
) -> None:
    server = serve(first(1, Action(text="")))
    connect(server).complete([request_(seed=5)])
    assert [sent["seed"] for sent in server.requests] == [5, 6]
    server = serve(first(1, Action(status=500)))
    connect(server).complete([request_(seed=5)])
    assert [sent["seed"] for sent in server.requests] == [5, 5]


def test_retry_after_is_honoured_within_reason(
    serve: Serve, connect: Connect, request_: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []
    sleep = asyncio.sleep

    async def noted(delay: float) -> None:
        waits.append(delay)
        await sleep(delay)

    monkeypatch.setattr(asyncio, "sleep", noted)

    def waited(header: str) -> float:
        server = serve(first(1, Action(status=429, headers={"retry-after": header})))
        backend = connect(server, first_wait=0.001, longest_wait=0.4)
        waits.clear()
        backend.complete([request_()])
        return max(waits)

    assert waited("0") < 0.01
    assert waited("0.25") == 0.25
    assert waited("3600") == 0.4
    assert waited("Fri, 21 Oct 2500 07:28:00 GMT") == 0.4


REFUSAL = b'{"error": {"message": "\'response_format\' of type \'json_schema\' is not supported"}}'


@pytest.mark.parametrize("status", [400, 422, 500])
def test_a_server_without_schemas_is_asked_without(
    status: int, serve: Serve, connect: Connect, request_: Make, caplog: pytest.LogCaptureFixture
) -> None:
    def script(request: dict[str, Any]) -> Action:
        refused = "response_format" in request
        return Action(status=status, body=REFUSAL) if refused else Action(text="{}")

    server = serve(script)
    backend = connect(server, retries=0)
    schema = {"type": "object"}
    for _ in range(3):
        (answer,) = backend.complete([request_(schema=schema)])
        assert isinstance(answer, ChatAnswer)
    forms = [sent.get("response_format", {}).get("type") for sent in server.requests]
    assert forms == ["json_schema", "json_object", None, None, None]
    assert [record.message for record in caplog.records] == [
        "openai/tiny takes no JSON schema: asked without"
    ]


def test_a_server_that_takes_schemas_as_llama_cpp_does(
    serve: Serve, connect: Connect, request_: Make, caplog: pytest.LogCaptureFixture
) -> None:
    def script(request: dict[str, Any]) -> Action:
        known = request["response_format"]["type"] == "json_object"
        return Action(text="{}") if known else Action(status=500, body=REFUSAL)

    server = serve(script)
    schema = {"type": "object"}
    requests = [request_(seed=seed, schema=schema) for seed in range(5)]
    answers = connect(server, retries=0).complete(requests)
    assert all(isinstance(answer, ChatAnswer) for answer in answers)
    assert server.requests[-1]["response_format"] == {"type": "json_object", "schema": schema}
    assert not caplog.records


def test_a_server_with_another_name_for_the_limit(
    serve: Serve, connect: Connect, request_: Make
) -> None:
    body = b'{"error": {"message": "max_tokens is not supported, use max_completion_tokens"}}'

    def script(request: dict[str, Any]) -> Action:
        return Action(status=400, body=body) if "max_tokens" in request else Action()

    server = serve(script)
    backend = connect(server, retries=0)
    for _ in range(2):
        assert isinstance(backend.complete([request_(max_tokens=5)])[0], ChatAnswer)
    assert [sent.get("max_completion_tokens") for sent in server.requests] == [None, 5, 5]


def error(message: str, **more: str) -> bytes:
    return json.dumps({"error": {"message": message, **more}}).encode()


@pytest.mark.parametrize(
    ("part", "told"),
    [
        ("temperature", "takes no temperature: asked without"),
        ("seed", "takes no seed: asked without"),
        ("system", "takes no system role: the instruction goes into the first message"),
    ],
)
def test_what_a_server_does_not_take_is_left_out_and_said_once(
    part: str,
    told: str,
    serve: Serve,
    connect: Connect,
    request_: Make,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def script(request: dict[str, Any]) -> Action:
        there = part in request or request["messages"][0]["role"] == part
        return Action(status=400, body=error(f"'{part}' role is not supported")) if there else OK

    server = serve(script)
    backend = connect(server, retries=0)
    for _ in range(2):
        answers = backend.complete([request_(seed=seed) for seed in range(8)])
        assert all(isinstance(answer, ChatAnswer) for answer in answers)
    assert [record.message for record in caplog.records] == [f"openai/tiny {told}"]
    assert len(server.requests) <= 24
    first = server.requests[-1]["messages"][0]
    assert first["content"] == ("Be brief.\n\nHi." if part == "system" else "Be brief.")


OK = Action(text="Well.")
FILTERED = Action(status=400, body=error("filtered", code="content_filter"))
TOO_LONG = Action(status=400, body=error("x", code="context_length_exceeded"))
UNKNOWN = Action(status=400, body=error("the stars are not right"))


@pytest.mark.parametrize("refused", [FILTERED, TOO_LONG, Action(status=413), UNKNOWN])
@pytest.mark.parametrize("concurrency", [1, 4])
def test_a_request_that_is_refused_fails_alone(
    refused: Action, concurrency: int, serve: Serve, connect: Connect, request_: Make
) -> None:
    # The refused one is the first to be sent, when nobody knows yet whether this server answers.
    server = serve(lambda request: refused if request["messages"][-1]["content"] == "0" else OK)
    backend = connect(server, concurrency=max(2, concurrency))
    results = backend.complete([request_(str(i)) for i in range(6)])
    assert isinstance(results[0], InfrastructureError)
    assert "request refused" in str(results[0])
    assert all(isinstance(result, ChatAnswer) for result in results[1:])
    assert len(server.requests) == 6  # refused is refused
    (again,) = backend.complete([request_("0")])
    assert isinstance(again, InfrastructureError)


@pytest.mark.parametrize("refused", [FILTERED, TOO_LONG])
def test_a_request_that_is_refused_alone_is_no_mistake(
    refused: Action, serve: Serve, connect: Connect, request_: Make
) -> None:
    (failure,) = connect(serve(lambda request: refused)).complete([request_()])
    assert isinstance(failure, InfrastructureError)


def test_a_badly_sampled_answer_is_asked_for_again(
    serve: Serve, connect: Connect, request_: Make
) -> None:
    bad = Action(status=400, body=error("x", code="json_validate_failed", failed_generation="{"))
    server = serve(first(2, bad))
    (answer,) = connect(server).complete([request_(seed=5, schema={"type": "object"})])
    assert isinstance(answer, ChatAnswer)
    assert [sent["seed"] for sent in server.requests] == [5, 6, 7]
    assert all("response_format" in sent for sent in server.requests)


@pytest.mark.parametrize("page", [b"<!doctype html>", b"data: {}"])
def test_a_web_page_is_a_mistake_unless_answers_came(
    page: bytes, serve: Serve, connect: Connect, request_: Make
) -> None:
    server = serve(lambda request: Action(body=page))
    backend = connect(server, retries=1, concurrency=2)
    with pytest.raises(ConvgymError, match="came in place of an answer"):
        backend.complete([request_(str(i)) for i in range(20)])
    assert len(server.requests) < 40
    server.script = lambda request: OK
    assert isinstance(backend.complete([request_()])[0], ChatAnswer)
    server.script = lambda request: Action(body=page)
    assert isinstance(backend.complete([request_()])[0], InfrastructureError)


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_redirects_to_other_hosts_are_not_followed(
    status: int, serve: Serve, connect: Connect, request_: Make
) -> None:
    other = serve(lambda request: OK)
    headers = {"location": f"{other.url}/chat/completions"}
    server = serve(lambda request: Action(status=status, headers=headers))
    backend = connect(server)
    with pytest.raises(ConvgymError, match=r"redirects to another host, 127\.0\.0\.1:") as found:
        backend.complete([request_()])
    assert len(str(found.value).splitlines()) == 1
    assert not other.requests
    assert backend.ledger.spent.requests == 1


def test_hosts_as_they_are_written(
    serve: Serve, request_: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    server = serve(lambda request: OK)
    monkeypatch.setenv(
        "OPENAI_BASE_URL", server.url.replace("http://127.0.0.1", "HTTP://LocalHost")
    )
    backend = OpenAIBackend(OpenAIConfig(model="tiny"))
    assert isinstance(backend.complete([request_()])[0], ChatAnswer)
    backend.close()
    config = OpenAIConfig(model="tiny", base_url="http://\u2160..x/v1")
    with pytest.raises(ConvgymError, match="base_url is no address"):
        OpenAIBackend(config).complete([request_()])


def test_redirects_on_the_same_host_are_followed(
    serve: Serve, connect: Connect, request_: Make
) -> None:
    script = first(1, Action(status=307, headers={"location": "/v1/chat/completions/"}), OK)
    server = serve(script)
    assert isinstance(connect(server).complete([request_()])[0], ChatAnswer)
    assert len(server.requests) == 2


def test_fields_of_ones_own_are_sent(serve: Serve, connect: Connect, request_: Make) -> None:
    server = serve(lambda request: OK)
    extra = {"top_k": 20, "chat_template_kwargs": {"enable_thinking": False}, "temperature": 0.1}
    backend = connect(server, extra_body=extra)
    backend.complete([request_()])
    assert server.requests[0].items() >= extra.items()
    assert backend.fingerprint.startswith("openai/tiny+")
    other = connect(server, extra_body={"top_k": 21})
    assert len({backend.fingerprint, other.fingerprint, connect(server).fingerprint}) == 3


def test_a_key_in_quotes_is_named_before_anything_is_sent(
    serve: Serve, connect: Connect, request_: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = serve(lambda request: OK)
    backend = connect(server)
    monkeypatch.setenv("OPENAI_API_KEY", f"“{KEY}”")
    with pytest.raises(ConvgymError, match="OPENAI_API_KEY") as found:
        backend.complete([request_()])
    assert KEY not in str(found.value) and not server.requests


@pytest.mark.parametrize(
    ("action", "message"),
    [
        (Action(status=401), "refuses the key in OPENAI_API_KEY"),
        (Action(status=403), "refuses the key in OPENAI_API_KEY"),
        (Action(status=404), "has no model 'tiny', or base_url is not where its API is"),
        (Action(status=400, body=error("bad thing")), "refuses the request: bad thing"),
        (Action(status=422), "refuses the request"),
        (
            Action(status=429, body=error("pay", code="insufficient_quota")),
            "account of the key in OPENAI_API_KEY is used up",
        ),
    ],
)
def test_what_will_not_pass_is_the_users_mistake(
    action: Action, message: str, serve: Serve, connect: Connect, request_: Make
) -> None:
    server = serve(lambda request: action)
    backend = connect(server, concurrency=3)
    with pytest.raises(ConvgymError, match=message) as found:
        backend.complete([request_(str(i)) for i in range(40)])
    assert len(str(found.value).splitlines()) == 1
    assert len(server.requests) <= 6  # those under way; the others were not sent


def test_answers_that_came_before_a_mistake_are_not_lost(
    serve: Serve, connect: Connect, request_: Make
) -> None:
    server = serve(lambda request: Action(status=401) if len(server.requests) > 3 else Action())
    answered = []
    with pytest.raises(ConvgymError):
        for i, answer in connect(server, concurrency=1).as_answered([request_()] * 10):
            answered.append((i, answer))
    assert sorted(i for i, _ in answered) == [0, 1, 2]


def test_requests_are_under_way_together_but_not_too_many(
    serve: Serve, connect: Connect, request_: Make
) -> None:
    server = serve(lambda request: Action(latency=0.05))
    backend = connect(server, concurrency=10)
    started = time.monotonic()
    backend.complete([request_(str(i)) for i in range(40)])
    assert server.most == 10
    assert 0.2 <= time.monotonic() - started < 2  # one by one they take two seconds


def test_inside_a_running_loop(serve: Serve, connect: Connect, request_: Make) -> None:
    backend = connect(serve(lambda request: Action()))

    async def cell_of_a_notebook() -> list[Any]:
        return backend.complete([request_()])

    assert asyncio.run(cell_of_a_notebook()) == backend.complete([request_()])


def test_close_and_go_on(serve: Serve, connect: Connect, request_: Make) -> None:
    backend = connect(serve(lambda request: Action()))
    backend.close()
    for _ in range(2):
        assert isinstance(backend.complete([request_()])[0], ChatAnswer)
        backend.close()
        backend.close()
    assert backend.complete([]) == []


def test_what_nobody_holds_is_closed(serve: Serve, request_: Make) -> None:
    import threading

    server = serve(lambda request: Action())
    backend = OpenAIBackend(OpenAIConfig(model="tiny", base_url=server.url))
    before = threading.active_count()
    backend.complete([request_()])
    assert threading.active_count() > before
    del backend
    assert threading.active_count() <= before


@pytest.mark.parametrize("level", [logging.DEBUG, logging.INFO])
def test_the_key_is_in_no_output(
    level: int,
    serve: Serve,
    connect: Connect,
    request_: Make,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    caplog.set_level(level)
    told = f"no such key: {KEY}, Bearer {KEY}"
    backend = connect(serve(lambda request: Action(status=500, body=error(told))), retries=1)
    (failure,) = backend.complete([request_()])
    assert "***" in str(failure)
    refused = connect(serve(lambda request: Action(status=401, body=error(told))))
    with pytest.raises(ConvgymError) as found:
        refused.complete([request_()])
    assert "***" in str(found.value)
    import traceback

    seen = [
        repr(failure),
        *traceback.format_exception(found.value),
        repr(vars(backend)),
        repr(backend),
        backend.fingerprint,
        caplog.text,
        *capfd.readouterr(),
    ]
    assert not [text for text in seen if KEY in text]


def test_no_key(monkeypatch: pytest.MonkeyPatch, serve: Serve, request_: Make) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    with pytest.raises(ConvgymError, match="no key in the environment variable OPENAI_API_KEY"):
        OpenAIBackend(OpenAIConfig(model="tiny")).complete([request_()])
    server = serve(lambda request: Action())
    own = OpenAIBackend(OpenAIConfig(model="tiny", base_url=server.url))
    assert isinstance(own.complete([request_()])[0], ChatAnswer)
    own.close()
    monkeypatch.setenv("SHOP_KEY", KEY)
    monkeypatch.setenv("OPENAI_BASE_URL", server.url)
    named = OpenAIBackend(OpenAIConfig(model="tiny", api_key_variable="SHOP_KEY"))
    named.complete([request_()])
    named.close()
    assert server.keys == ["Bearer none", f"Bearer {KEY}"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"model": ""}, "model must be a name"),
        ({"concurrency": 0}, "concurrency must be an integer from 1 upwards, got 0"),
        ({"retries": -1}, "retries must be an integer from 0 upwards"),
        ({"timeout": 0}, "timeout must be seconds above 0, got 0"),
        ({"longest_wait": "long"}, "longest_wait must be seconds above 0"),
        ({"base_url": "localhost:8000"}, "must begin with http://"),
        ({"base_url": f"http://me:{KEY}@host/v1"}, "keys come from the environment"),
    ],
)
def test_bad_settings(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConvgymError, match=message) as found:
        OpenAIConfig(**{"model": "tiny", **options})
    assert KEY not in str(found.value)


def test_without_the_package(
    monkeypatch: pytest.MonkeyPatch, connect: Connect, serve: Serve, request_: Make
) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "openai", None)
    with pytest.raises(ConvgymError, match=r"pip install .*\[llm\]'"):
        connect(serve(lambda request: Action())).complete([request_()])
