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
from convgym.llm.refusals import refusal_in


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


@pytest.mark.parametrize(
    "finish",
    ["length", "max_tokens", "MAX_TOKENS", "max_output_tokens", "model_length",
     "model_context_window_exceeded", "max_length"],
)  # fmt: skip
def test_an_answer_that_was_cut_whatever_that_is_called(finish: str) -> None:
    assert read(completion("I would li", finish)).cut
    with pytest.raises(NoAnswer, match="raise max_tokens"):
        read(completion("", finish))


@pytest.mark.parametrize(
    "finish",
    ["content_filter", "SAFETY", "recitation", "content_filter: RECITATION", "PROHIBITED_CONTENT",
     "BLOCKLIST", "SPII", "sensitive", "refusal", "guardrail_intervened"],
)  # fmt: skip
def test_an_answer_that_was_filtered_is_none(finish: str) -> None:
    for data in (completion("I would li", finish), {"choices": [{"finish_reason": finish}]}):
        with pytest.raises(NoAnswer, match="a content filter took the answer away"):
            read(data)


@pytest.mark.parametrize(
    "finish", ["error", "network_error", "abort", "insufficient_system_resource", "cancelled"]
)
def test_an_answer_that_was_broken_off_is_none(finish: str) -> None:
    with pytest.raises(NoAnswer, match=f"the server broke the answer off .{finish}"):
        read(completion("I would li", finish))


@pytest.mark.parametrize("finish", ["stop", "STOP", "eos", "end_turn", None, 5, ["stop"], {"a": 1}])
def test_an_answer_that_ended_by_itself(finish: Any) -> None:
    assert read(completion("Hello.", finish)) == ChatAnswer("Hello.", 9, 4)


@pytest.mark.parametrize("name", ["tool_calls", "function_call"])
def test_tools_that_were_called_are_named(name: str) -> None:
    call = {"name": "answer", "arguments": '{"decision": "buy", "say": "Yes."}'}
    with pytest.raises(NoAnswer, match="called a tool"):
        read(completion(None, "tool_calls", **{name: call}))


@pytest.mark.parametrize(
    "beside",
    [
        {"reasoning_text": "Hm."},
        {"thought": "Hm."},
        {"thinking_blocks": [{"type": "thinking", "thinking": "Hm.", "signature": "x"}]},
        {"reasoning_summary": [{"text": "Hm."}]},
        {"provider_specific_fields": {"reasoning_content": "Hm."}},
        {"reasoning": "Hm.", "reasoning_content": "Hm.", "reasoning_details": [{"text": "Hm."}]},
    ],
)
def test_thoughts_under_other_names(beside: dict[str, Any]) -> None:
    assert read(completion("Hello.", **beside)) == ChatAnswer("Hello.", 9, 4, reasoning="Hm.")


def test_parts_that_are_marked_as_thoughts() -> None:
    parts = [{"text": "I might buy.", "thought": True}, {"text": "Hello."}]
    assert read(completion(parts)) == ChatAnswer("Hello.", 9, 4, reasoning="I might buy.")


def test_json_that_came_as_an_object() -> None:
    assert json.loads(read(completion({"decision": "leave", "say": "Bye."})).text) == {
        "decision": "leave",
        "say": "Bye.",
    }


@pytest.mark.parametrize("role", ["chatbot", "Assistant ", "gpt", "MODEL", "bot", None])
def test_roles_of_the_model(role: Any) -> None:
    assert read(completion("Hello.", role=role)).text == "Hello."


@pytest.mark.parametrize("role", ["user", "System", "tool", "human", "developer", 5])
def test_roles_of_others(role: Any) -> None:
    with pytest.raises(NoAnswer, match="in the role"):
        read(completion("Hello.", role=role))


@pytest.mark.parametrize("part", ["delta", "message"])
def test_a_piece_of_a_stream_is_an_answer(part: str) -> None:
    data = {"choices": [{part: {"content": "Hello."}, "finish_reason": "stop"}]}
    assert read(data).text == "Hello."
    assert read({"choices": [{"text": "Hello.", "finish_reason": "stop"}]}).text == "Hello."


@pytest.mark.parametrize(
    "data",
    [
        {"model": "x", "message": {"role": "assistant", "content": "Hello."}, "done": True},
        {"type": "message", "content": [{"type": "text", "text": "Hello."}]},
        {"candidates": [{"content": {"parts": [{"text": "Hello."}]}}]},
        {"object": "response", "output": []},
    ],
)
def test_another_interface_is_a_mistake_if_nobody_is_ever_answered(data: dict[str, Any]) -> None:
    assert error_in(data) is None
    with pytest.raises(NoAnswer, match="another interface than OpenAI's") as found:
        read(data)
    assert found.value.doubtful


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({"object": "error", "message": "Sorry", "code": 400}, "Sorry"),
        ({"errors": [{"message": "Sorry"}]}, "Sorry"),
        ({"detail": "Sorry"}, "Sorry"),
        ({"error": True, "message": "Sorry"}, "Sorry"),
        ({"error": ["Sorry"]}, "Sorry"),
        ({"code": 50505, "message": "Sorry", "data": None}, "Sorry"),
        ({"error_code": 336, "error_msg": "Sorry"}, "Sorry"),
        ({"choices": None, "base_resp": {"status_code": 1002, "status_msg": "Sorry"}}, "Sorry"),
    ],
)
def test_errors_in_the_place_of_choices(data: dict[str, Any], words: str) -> None:
    error = error_in(data)
    assert error is not None
    assert words in refusal_in(error).reason


def test_an_error_in_a_list_of_one() -> None:
    data = read_body(b'[{"error": {"code": 429, "message": "Slow down"}}]')
    assert refusal_in(error_in(data) or {}).status == 429


def test_the_code_beside_an_error_in_words_counts() -> None:
    assert refusal_in(error_in({"error": "Sorry", "code": 429}) or {}).status == 429


def test_tokens_by_other_names_and_beyond_reason() -> None:
    assert read_usage({"usage": {"input_tokens": 3, "output_tokens": 2}}) == Usage(1, 3, 2)
    huge = {"prompt_tokens": 10**30, "completion_tokens": 1}
    assert read_usage({"usage": huge}) is None


@pytest.mark.parametrize("before", [b"\xef\xbb\xbf", b"\n\n", b": ALIVE\n\n", b"\n: A\n\n: B\n"])
def test_what_comes_before_an_answer_is_passed_over(before: bytes) -> None:
    assert read_body(before + json.dumps(completion("Hello.")).encode()) == completion("Hello.")


def test_line_feeds_in_strings() -> None:
    assert read_body(b'{"a": "one\ntwo"}') == {"a": "one\ntwo"}
