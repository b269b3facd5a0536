"""How requests are written, and what is learned from each way of refusing a part of one."""

from __future__ import annotations

import json
from typing import Any

import pytest

from convgym.llm.base import ChatRequest
from convgym.llm.forms import Forms, without_system
from convgym.llm.refusals import Refusal, read_refusal

SCHEMA = {"type": "object"}
REQUEST = ChatRequest(
    ({"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi."}),
    5,
    max_tokens=9,
    temperature=0.5,
    schema=SCHEMA,
)


def learn(forms: Forms, status: int, body: Any) -> tuple[Forms, str] | None:
    refusal = read_refusal(status, body if isinstance(body, bytes) else json.dumps(body).encode())
    return forms.after(refusal, forms.body(REQUEST, "tiny", 5, {}))


def error(message: str, **more: Any) -> dict[str, Any]:
    return {"error": {"message": message, **more}}


def detail(*loc: Any, msg: str = "Extra inputs are not permitted", **more: Any) -> dict[str, Any]:
    return {"detail": [{"type": "extra_forbidden", "loc": ["body", *loc], "msg": msg, **more}]}


def test_what_is_sent_at_first() -> None:
    body = Forms().body(REQUEST, "tiny", 7, {"top_k": 3, "temperature": 0.1})
    assert body == {
        "model": "tiny",
        "messages": list(REQUEST.messages),
        "seed": 7,
        "temperature": 0.1,
        "max_tokens": 9,
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "answer", "schema": SCHEMA, "strict": True},
        },
        "top_k": 3,
    }


WHOLE = json.dumps(Forms().body(REQUEST, "tiny", 5, {}))


@pytest.mark.parametrize(
    ("status", "body", "changed"),
    [
        (400, error("Unsupported parameter: 'temperature' is not supported"), "temperature"),
        (400, error("Unsupported value: 'temperature' does not support 0.5"), "temperature"),
        (400, error("no", param="temperature"), "temperature"),
        (422, detail("temperature"), "temperature"),
        (422, detail("temperature", input=json.loads(WHOLE)), "temperature"),
        (400, {"message": "temperature is deprecated for this model"}, "temperature"),
        (400, error("Provider error", metadata={"raw": '{"msg": "temperature: not here"}'}),
         "temperature"),
        (422, detail("seed"), "seed"),
        (400, error("Unrecognized request argument supplied: seed"), "seed"),
        (400, error("property 'seed' is unsupported"), "seed"),
        (500, error("create() got an unexpected keyword argument 'seed'"), "seed"),
        (400, error("[{'loc': ('body', 'seed'), 'input': {'temperature': 1}}]"), "seed"),
        (400, [error('Invalid JSON payload. Unknown name "seed": Cannot find field.')], "seed"),
        (422, detail("response_format"), "response_format"),
        (400, error("This response_format type is unavailable now"), "response_format"),
        (400, error("json_schema is not supported"), "response_format"),
        (404, error("No endpoints found that support response_format"), "response_format"),
        (500, error("'response_format' of type 'json_schema' is not supported"),
         "response_format"),
        (400, error("Invalid grammar"), "response_format"),
        (400, error("Use 'max_completion_tokens' instead of 'max_tokens'"), "limit"),
        (422, detail("max_tokens"), "limit"),
        (400, error("no", param="max_tokens"), "limit"),
        (400, error("System role not supported"), "system"),
        (400, error("Developer instruction is not enabled for models/gemma"), "system"),
        (400, error("Conversation roles must alternate user/assistant/user"), "system"),
        (400, error("Only user and assistant roles are supported!"), "system"),
        (400, error("'messages[0].role' does not support 'system' with this model"), "system"),
        (400, error("no", param="messages[0].role"), "system"),
        (422, detail("messages", 0, "role", msg="Input should be 'user'"), "system"),
        (500, error("the seed server is on fire"), None),
        (500, b"", None),
        (400, error("we never talk about seed phrases"), None),
        (422, b"", None),
        (400, error("bad request"), None),
        (400, {"detail": [{"loc": ["body", "user"], "msg": "no", "input": "temperature"}]}, None),
    ],
)  # fmt: skip
def test_what_is_refused_is_known(status: int, body: Any, changed: str | None) -> None:
    learned = learn(Forms(), status, body)
    if changed is None:
        assert learned is None
        return
    assert learned is not None
    forms, told = learned
    sent = forms.body(REQUEST, "tiny", 5, {})
    first = Forms().body(REQUEST, "tiny", 5, {})
    differing = {name for name in {*sent, *first} if sent.get(name) != first.get(name)}
    expected = {
        "limit": {"max_tokens", "max_completion_tokens"},
        "system": {"messages"},
    }.get(changed, {changed})
    assert differing == expected
    assert bool(told) == (changed in ("temperature", "seed", "system"))


def test_every_part_is_refused_only_so_often() -> None:
    forms, steps = Forms(), 0
    while learned := learn(
        forms, 400, error("temperature seed response_format max_tokens system role unsupported")
    ):
        forms, steps = learned[0], steps + 1
    assert steps == 6
    assert forms.body(REQUEST, "tiny", 5, {}) == {
        "model": "tiny",
        "messages": [{"role": "user", "content": "Be brief.\n\nHi."}],
        "max_completion_tokens": 9,
    }


def test_an_extra_that_is_refused_is_not_left_out() -> None:
    forms = Forms(dropped=frozenset({"temperature"}))
    refusal = read_refusal(400, b"temperature is not supported")
    assert forms.after(refusal, forms.body(REQUEST, "tiny", 5, {"temperature": 1})) is None


def test_instructions_go_into_the_first_message() -> None:
    assert without_system(REQUEST.messages[1:]) == REQUEST.messages[1:]
    assert without_system(REQUEST.messages[:1]) == ({"role": "user", "content": "Be brief."},)
    answered = (REQUEST.messages[0], {"role": "assistant", "content": "Hi."})
    assert [m["role"] for m in without_system(answered)] == ["user", "assistant"]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("words", "part"),
    [
        ("Key: 'Req.Seed' Error:Field validation for 'Seed' failed on the 'max' tag", "seed"),
        ("failed to parse grammar", "response_format"),
        ("参数 temperature 不合法", "temperature"),
        ("First content should be with role 'user', got system", "system"),
    ],
)
def test_complaints_in_other_words(words: str, part: str) -> None:
    messages = ({"role": "system", "content": "s"}, {"role": "user", "content": "u"})
    request = ChatRequest(messages, 5, 200, 0.7, {"type": "object"})  # type: ignore[arg-type]
    body = Forms().body(request, "m", 5, {})
    refusal = Refusal(400, {"error": {"message": words}})
    assert Forms()._refused(refusal, body) == part
