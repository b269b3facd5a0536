"""What endpoints send with the status 200: read, or named for what it is."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from convgym.llm.base import ChatAnswer
from convgym.llm.completions import error_in, read_body, read_completion, read_usage
from convgym.llm.errors import NoAnswer
from convgym.llm.ledger import Usage


def completion(content: Any, finish: Any = "stop", **message: Any) -> dict[str, Any]:
    whole = {"role": "assistant", "content": content, **message}
    return {
        "choices": [{"message": whole, "finish_reason": finish}],
        "usage": {"prompt_tokens": 9, "completion_tokens": 4},
    }


def read(data: dict[str, Any]) -> ChatAnswer:
    return read_completion(data, max_tokens=200)


@pytest.mark.parametrize(
    ("content", "reasoning"),
    [
        ("Hello.", ""),
        (" Hello.\n", ""),
        ([{"type": "text", "text": "Hello."}], ""),
        ([{"type": "text", "text": "Hel"}, {"type": "text", "text": "lo."}], ""),
        ([{"type": "output_text", "text": "Hello."}], ""),
        ([{"type": "text", "text": {"value": "Hello.", "annotations": []}}], ""),
        (["Hel", "lo."], ""),
        ({"type": "text", "text": "Hello."}, ""),
        ([{"type": "thinking", "thinking": [{"type": "text", "text": "Hm."}]}, "Hello."], "Hm."),
        ([{"type": "reasoning", "summary": [{"text": "Hm."}]}, {"text": "Hello."}], "Hm."),
        ([{"type": "redacted_thinking", "data": "x"}, {"type": "text", "text": "Hello."}], ""),
        ([{"type": "image_url", "image_url": {}}, {"type": "text", "text": "Hello."}], ""),
        ([None, 3, {"type": 4}, {"type": "text", "text": "Hello."}], ""),
    ],
)
def test_content_in_parts(content: Any, reasoning: str) -> None:
    assert read(completion(content)) == ChatAnswer("Hello.", 9, 4, reasoning=reasoning)


@pytest.mark.parametrize(
    "apart",
    [
        {"reasoning_content": "Hm."},
        {"reasoning": "Hm."},
        {"thinking": "Hm."},
        {"reasoning_details": [{"type": "reasoning.text", "text": "Hm."}]},
        {"reasoning": {"content": "Hm."}},
    ],
)
def test_thoughts_beside_the_answer(apart: dict[str, Any]) -> None:
    assert read(completion("Hello.", **apart)) == ChatAnswer("Hello.", 9, 4, reasoning="Hm.")
    nothing: list[Any] = [None, "", [], "<think>Hm.</think>"]
    for content in nothing:
        with pytest.raises(NoAnswer, match=r"^empty answer: nothing but reasoning$"):
            read(completion(content, **apart))
        with pytest.raises(NoAnswer, match="all of max_tokens=200 went to reasoning"):
            read(completion(content, "length", **apart))


@pytest.mark.parametrize("role", [None, "", "assistant", "Assistant", "model"])
def test_roles_that_are_the_assistants(role: str | None) -> None:
    assert read(completion("Hello.", role=role)).text == "Hello."
    data = completion("Hello.")
    del data["choices"][0]["message"]["role"]
    assert read(data).text == "Hello."


@pytest.mark.parametrize(
    ("data", "told"),
    [
        ({}, "no message in it"),
        ({"choices": None}, "no message in it"),
        ({"choices": []}, "no message in it"),
        ({"choices": {"0": {}}}, "no message in it"),
        ({"choices": [None]}, "no message in it"),
        ({"choices": [{"message": "Hello."}]}, "no message in it"),
        (completion("Hello.", role="user"), "in the role 'user'"),
        (completion("Hello.", role=7), "in the role '7'"),
        (completion(None), "^empty answer$"),
        (completion(7), "^empty answer$"),
        (completion(None, "length"), "cut off at max_tokens=200: raise max_tokens"),
        (completion("<think>I wonder", "length"), "went to reasoning"),
        (completion("", refusal="I cannot\nplay that."), "the model refused: I cannot play that."),
        (completion([{"type": "refusal", "refusal": "No."}]), "the model refused: No."),
        (completion("I wo", "content_filter"), "a content filter took the answer away"),
    ],
)
def test_what_is_no_answer_says_what_it_is(data: dict[str, Any], told: str) -> None:
    with pytest.raises(NoAnswer, match=told) as found:
        read(data)
    assert found.value.reseed
    assert "\n" not in str(found.value)


def test_an_answer_that_was_cut_is_marked() -> None:
    assert read(completion("I wo", "length")) == ChatAnswer("I wo", 9, 4, cut=True)


def test_half_characters_become_replacement_characters() -> None:
    assert read(completion("Thanks \ud83d")).text == "Thanks \ufffd"
    assert read(completion("Thanks \U0001f600")).text == "Thanks \U0001f600"


@pytest.mark.parametrize(
    ("body", "told", "doubtful"),
    [
        (b"<!doctype html><html></html>", "a web page came .* base_url may be wrong", True),
        (b"\n <html>", "a web page came", True),
        (b"\xef\xbb\xbf<?xml", "a web page came", True),
        (b'data: {"choices": []}\n\n', "a stream came", True),
        (b"", "nothing at all", False),
        (b"Hello.", "no JSON: 'Hello.'", False),
        (b'{"choices": [', "no JSON", False),
        (b"\xff\xfe\xfd", "no JSON", False),
        (b"[1, 2]", "JSON of another kind", False),
        (b"null", "JSON of another kind", False),
        (b"[" * 100_000, "no JSON", False),
        (b'{"a": ' + b"1" * 5000 + b"}", "no JSON", False),
    ],
)
def test_bodies_that_are_no_completion(body: bytes, told: str, doubtful: bool) -> None:
    with pytest.raises(NoAnswer, match=told) as found:
        read_body(body)
    assert found.value.doubtful == doubtful
    assert len(str(found.value)) < 300


def test_a_byte_order_mark_does_no_harm() -> None:
    assert read_body(b"\xef\xbb\xbf{}") == {}


@pytest.mark.parametrize(
    "usage",
    [
        None,
        {},
        [],
        "9",
        {"prompt_tokens": 0, "completion_tokens": 0},
        {"prompt_tokens": 9, "completion_tokens": 0},
        {"prompt_tokens": 0, "completion_tokens": 4},
        {"prompt_tokens": -9, "completion_tokens": 4},
        {"prompt_tokens": 9, "completion_tokens": -4},
        {"prompt_tokens": 9},
        {"prompt_tokens": "9", "completion_tokens": "4"},
        {"prompt_tokens": 9.5, "completion_tokens": 4.0},
        {"prompt_tokens": True, "completion_tokens": True},
        {"prompt_tokens": None, "completion_tokens": None},
    ],
)
def test_usage_that_cannot_be_is_no_report(usage: Any) -> None:
    data = {**completion("Hello."), "usage": usage}
    assert read_usage(data) is None
    assert read(data) == ChatAnswer("Hello.")


def test_usage() -> None:
    assert read_usage(completion("Hello.")) == Usage(1, 9, 4)
    nothing = {"prompt_tokens": 9, "completion_tokens": 0}
    assert read_usage({**completion(""), "usage": nothing}) == Usage(1, 9, 0)
    assert read_usage({**completion("", reasoning="Hm."), "usage": nothing}) is None


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (completion("Hello."), None),
        ({**completion("Hello."), "error": None}, None),
        ({"error": {"message": "Sorry"}}, {"message": "Sorry"}),
        ({"error": "Sorry"}, {"message": "Sorry"}),
        ({"choices": [{"error": {"message": "Sorry"}}]}, {"message": "Sorry"}),
    ],
)
def test_errors_that_come_as_a_success(data: dict[str, Any], error: Any) -> None:
    assert error_in(data) == error


LEAF = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8), st.just("text")
)
KEYS = "choices message content role text type error usage prompt_tokens refusal thinking code"
ANY = st.recursive(
    LEAF,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.sampled_from(KEYS.split()), inner)
    ),
    max_leaves=12,
)


@given(ANY, ANY, ANY)
def test_whatever_comes_it_is_an_answer_or_none(message: Any, usage: Any, whole: Any) -> None:
    for data in (whole, {"choices": [{"message": message}], "usage": usage}):
        try:
            fields = read_body(json.dumps(data).encode())
            error_in(fields)
            answer = read(dict(fields))
        except NoAnswer as problem:
            assert "\n" not in str(problem)
        else:
            assert answer.text.strip()
            assert answer.prompt_tokens >= 0 and answer.completion_tokens >= 0
