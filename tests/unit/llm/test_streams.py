"""Streams that nobody asked for are put together, unless they were broken off."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from convgym.llm.base import ChatAnswer
from convgym.llm.completions import error_in, read_body, read_completion
from convgym.llm.errors import NoAnswer
from convgym.llm.streams import read_stream


def stream(*events: Any, end: str = "data: [DONE]\n\n") -> bytes:
    return "".join(f"data: {json.dumps(event)}\n\n" for event in events).encode() + end.encode()


def piece(finish: str | None = None, **delta: Any) -> dict[str, Any]:
    return {"choices": [{"delta": delta, "finish_reason": finish}]}


def test_the_pieces_make_one_answer() -> None:
    body = b": PROCESSING\n\n" + stream(
        piece(role="assistant", content=""),
        piece(reasoning_content="H"),
        piece(reasoning_content="m."),
        piece(content="Hel"),
        piece(content="lo.", role="assistant"),
        piece("length"),
        {"choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 4}},
    )
    answer = read_completion(read_body(body), 200)
    assert answer == ChatAnswer("Hello.", 9, 4, reasoning="Hm.", cut=True)


def test_a_whole_completion_as_an_event() -> None:
    whole = {"choices": [{"message": {"content": "Hello."}, "finish_reason": "stop"}]}
    assert read_completion(read_body(stream(whole)), 200).text == "Hello."


def test_an_error_on_the_way_stands_for_all() -> None:
    body = stream(piece(content="Hel"), {"error": {"message": "Sorry", "code": 502}})
    assert error_in(read_body(body)) == {"message": "Sorry", "code": 502}


@pytest.mark.parametrize(
    "body",
    [
        stream(piece(content="I take "), end=""),  # the connection was lost
        stream(piece(content="I take "), end='data: {"choi'),
        b"data: [DONE]\n\n",
        b"event: ping\n\n",
        b"data: 5\n\n",
        stream({"choices": [5]}),
    ],
)
def test_what_was_broken_off_or_is_no_answer(body: bytes) -> None:
    with pytest.raises(NoAnswer, match="a stream came"):
        read_body(body)


@given(st.binary() | st.text().map(lambda text: b"data: " + text.encode("utf-8", "replace")))
def test_whatever_comes(body: bytes) -> None:
    assert read_stream(body) is None or body
