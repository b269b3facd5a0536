"""Transcripts come back as they were; whatever is no conversation is refused."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from convgym.conversation import Message, clean
from convgym.errors import ConvgymError
from convgym.exchange.transcripts import read_state, transcript

HI = {"role": "user", "content": "Hi"}
WHAT = {"role": "assistant", "content": "What for?"}
PICTURE = {"type": "image_url", "image_url": {"url": "https://host/picture.png"}}
TEXTS = st.text(max_size=12) | st.sampled_from(["Seller:", "Customer: a\nSeller:", "\u2028", " x "])


@given(st.lists(TEXTS, min_size=1, max_size=5).filter(lambda texts: len(texts) % 2 == 1))
def test_a_transcript_is_read_back_exactly(texts: list[str]) -> None:
    messages: list[Message] = [
        {"role": "assistant" if n % 2 else "user", "content": clean(text)}
        for n, text in enumerate(texts)
    ]
    text = transcript(messages)
    assert read_state(text) == read_state(f"{text} \n") == messages
    assert read_state([{"role": "system", "content": "Sell."}, *messages]) == messages


def test_what_a_transcript_looks_like() -> None:
    messages: list[Message] = [
        {"role": "user", "content": "Hi,\nthere"},
        {"role": "assistant", "content": "What for?"},
        {"role": "user", "content": ""},
    ]
    assert transcript(messages) == "Customer: Hi, there\nSeller: What for?\nCustomer: \nSeller:"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("", "a conversation as text is a transcript"),
        ("Seller:", "a conversation as text is a transcript"),
        ("<|im_start|>user\nHi<|im_end|>", "give chat messages for any other text"),
        ("Customer: Hi\nSeller: What", "with 'Seller:' as the last"),
        ("Hi\nSeller:", "line 1 of the transcript must begin with 'Customer:', got 'Hi'"),
        ("Customer: Hi\nCustomer: Oh\nSeller:", "line 2 of the transcript must begin with 'Seller"),
        ("Customer: Hi\nSeller: What\nSeller:", "must end with the customer's words"),
        (None, "a list of chat messages or a transcript, got None"),
        ({"role": "user"}, "a list of chat messages or a transcript, got {"),
        ([], "must end with the customer's words"),
        ([HI, WHAT], "must end with the customer's words"),
        (["Hi"], "message 1 must be an object with role and content, got 'Hi'"),
        ([{"role": "user", "content": None}], "the content of message 1 must be a text, or a"),
        ([{"role": "user", "content": b"Hi"}], "the content of message 1 must be a text, or a"),
        ([{"role": "user", "content": ["Hi"]}], "only those of the type 'text' are read, got 'Hi'"),
        ([HI, {"role": "assistant", "content": [PICTURE]}], "parts of message 2 only those of the"),
        ([{"role": "user", "content": [{"type": "text"}]}], "must hold its words as 'text', got"),
        ([WHAT, HI], "message 1 must have the role 'user', got 'assistant'"),
        ([HI, HI], "message 2 must have the role 'assistant', got 'user'"),
        ([HI, WHAT, {"role": "tool", "content": ""}], "message 3 must have the role 'user'"),
        ([HI, WHAT, HI, {"role": "system", "content": ""}], "message 4 must have the role"),
    ],
)
def test_what_is_no_conversation(given: Any, message: str) -> None:
    with pytest.raises(ConvgymError) as caught:
        read_state(given)
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_parts_that_are_texts_are_read_as_one() -> None:
    parts = [{"type": "text", "text": "Hi,"}, {"type": "text", "text": " there"}]
    assert read_state([{"role": "user", "content": parts}]) == [
        {"role": "user", "content": "Hi, there"}
    ]
    assert read_state([{"role": "user", "content": []}]) == [{"role": "user", "content": ""}]
