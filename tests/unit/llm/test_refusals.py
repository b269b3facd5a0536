"""Refusals: the reason is found wherever it stands, and it is known whose matter it is."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from convgym.llm.refusals import Refusal, read_refusal, refusal_in


def refusal(status: int, body: Any) -> Refusal:
    return read_refusal(status, body if isinstance(body, bytes) else json.dumps(body).encode())


def error(message: str, **more: Any) -> dict[str, Any]:
    return {"error": {"message": message, **more}}


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (error("Too hot"), "Too hot"),
        ({"message": "Too hot"}, "Too hot"),
        ({"object": "error", "message": "Too hot", "code": 40001}, "Too hot"),
        ({"detail": "Too hot"}, "Too hot"),
        ({"error": "Too hot"}, "Too hot"),
        ({"errors": [{"message": "Too"}, {"message": "hot"}]}, "Too; hot"),
        ([error("Too hot")], "Too hot"),
        ({"detail": [{"loc": ["body", "x"], "msg": "Too hot"}]}, "body.x: Too hot"),
        (error('{"error": {"message": "Too hot"}}'), "Too hot"),
        (error("Provider returned error", metadata={"raw": "Too\nhot"}),
         "Provider returned error: Too hot"),
        (b"Too hot", "Too hot"),
        (b"", "no reason given"),
        (b"\xff", "\ufffd"),
        ({}, "no reason given"),
        ([], "no reason given"),
        (0, "no reason given"),
        ({"status": "tired"}, '{"status": "tired"}'),
    ],
)  # fmt: skip
def test_the_reason_is_found(body: Any, reason: str) -> None:
    assert refusal(400, body).reason == f"{reason} (status 400)"


LONG = "This model's maximum context length is 4096 tokens, but you requested 5000"


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (400, error("filtered", code="content_filter"), "conversation"),
        (400, error("The prompt triggered our content management policy"), "conversation"),
        (400, error("x", innererror={"code": "ResponsibleAIPolicyViolation"}), "conversation"),
        (400, error("Content Exists Risk"), "conversation"),
        (400, error("x", code="data_inspection_failed"), "conversation"),
        (400, error("your prompt was flagged", code="invalid_prompt"), "conversation"),
        (403, error("your input was flagged", metadata={"reasons": ["violence"]}), "conversation"),
        (403, error("Your chosen model requires moderation"), "conversation"),
        (451, error("Blocked by our safety system"), "conversation"),
        (400, error(LONG, code="context_length_exceeded"), "conversation"),
        (400, error("prompt is too long: 210000 tokens > 200000 maximum"), "conversation"),
        (400, error("the request exceeds the available context size"), "conversation"),
        (400, error("'max_tokens' is too large: 200. " + LONG, param="max_tokens"), "conversation"),
        (413, b"", "conversation"),
        (422, error("Input validation error: `inputs` must have less than 4096 tokens"),
         "conversation"),
        (400, error("too many tokens: the prompt cannot exceed 4081"), "conversation"),
        (400, error("Input is too long for requested model."), "conversation"),
        (400, {"contentFilter": [{"level": 1}], "error": {"code": "1301"}}, "conversation"),
        (400, error("The request was rejected because it was considered high risk"),
         "conversation"),
        (400, error("input new_sensitive"), "conversation"),
        (404, error("no such model (names are case-sensitive)"), "address"),
        (400, error("Invalid schema for response_format: In context=('properties',)"), "other"),
        (500, error("Requested tokens (3000) exceed context window of 2048"), "conversation"),
        (400, {"detail": LONG}, "conversation"),
        (400, error("Provider returned error", metadata={"raw": json.dumps(error(LONG))}),
         "conversation"),
        (400, error("x", code="json_validate_failed", failed_generation="{"), "sample"),
        (400, error("Failed to generate JSON. Please adjust your prompt."), "sample"),
        (500, error("The model produced invalid content."), "sample"),
        (402, error("Insufficient Balance"), "account"),
        (400, error("Your credit balance is too low"), "account"),
        (429, error("pay", code="insufficient_quota"), "account"),
        (429, error("Rate limit reached: maximum context of tokens per minute"), "passing"),
        (429, b"", "passing"),
        (408, b"", "passing"),
        (500, b"<html>", "passing"),
        (529, error("overloaded"), "passing"),
        (401, error("bad key"), "key"),
        (401, error("your request was flagged"), "key"),
        (403, error("no access"), "key"),
        (404, error("no such model"), "address"),
        (405, b"", "address"),
        (307, b"", "address"),
        (400, error("'temperature' is not supported"), "other"),
        (400, error("System role not supported"), "other"),
        (400, error("max_tokens must be at least 16"), "other"),
        (422, {"detail": [{"loc": ["body", "n"], "msg": "bad", "input": LONG}]}, "other"),
        (400, error("bad", messages=[{"content": "content_filter"}]), "other"),
    ],
)  # fmt: skip
def test_whose_matter_it_is(status: int, body: Any, kind: str) -> None:
    assert refusal(status, body).kind == kind


@pytest.mark.parametrize(
    ("given", "status"),
    [
        ({"code": 429}, 429),
        ({"code": "503"}, 503),
        ({"status": 401}, 401),
        ({"code": "rate_limited"}, 502),
        ({"code": 7}, 502),
        ({"code": True}, 502),
        ({"code": 10**30}, 502),
        ({}, 502),
    ],
)
def test_an_error_in_a_success(given: dict[str, Any], status: int) -> None:
    found = refusal_in({"message": "Sorry", **given})
    assert (found.status, found.reason) == (status, f"Sorry (status {status})")


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        (error("x", param="Temperature"), "temperature"),
        ({"detail": [{"loc": ["body", "messages", 0, "role"]}]}, "body.messages.0.role"),
        (error("[{'loc': ('body', 'seed'), 'msg': 'no'}]"), "'body', 'seed'"),
        (error("no"), ""),
    ],
)
def test_fields_that_are_named(body: Any, fields: str) -> None:
    assert refusal(400, body).fields == fields


JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.floats(), st.text(max_size=6), st.just('{"error": 1}')),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.sampled_from("error message detail loc msg metadata raw param code".split()), inner
        ),
    ),
    max_leaves=10,
)


@given(st.integers(300, 599), st.one_of(JSON.map(lambda d: json.dumps(d).encode()), st.binary()))
def test_any_body_has_a_reason_and_a_kind(status: int, body: bytes) -> None:
    found = read_refusal(status, body)
    assert found.kind and found.reason.splitlines() == [found.reason]
    assert isinstance(found.fields + found.text, str)


def test_a_body_nested_without_end() -> None:
    deep: Any = "x"
    for _ in range(200):
        deep = {"error": [deep]}
    assert refusal(400, deep).kind == "other"
    assert refusal(400, b"[" * 100_000).kind == "other"


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (503, error("server busy, please try again.  maximum pending requests exceeded"),
         "passing"),
        (500, error("Engine overloaded: request queue full"), "passing"),
        (498, error("Flex capacity exceeded"), "passing"),
        (400, {"error": "The model has crashed without additional information."}, "passing"),
        (500, error("context shift is disabled"), "conversation"),
        (400, {"detail": "Guardrail intervened"}, "conversation"),
        (446, error("The guardrail checks defined in the config failed."), "conversation"),
        (451, error("Unavailable for legal reasons"), "conversation"),
        (400, error("系统检测到输入或生成内容可能包含不安全或敏感内容"), "conversation"),
        (403, b"<!DOCTYPE html><html><title>Attention Required!</title>", "other"),
        (403, b"\n<html><h1>403 Forbidden</h1>", "other"),
        (403, error("Your key may not use this model"), "key"),
        (403, b"", "key"),
        (401, b"<html>", "key"),
    ],
)  # fmt: skip
def test_whose_matter_else(status: int, body: Any, kind: str) -> None:
    assert refusal(status, body).kind == kind
