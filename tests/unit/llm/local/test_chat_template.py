"""Frames are read off chat templates of every usual make, or refused with the reason."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from convgym.errors import ConvgymError
from convgym.llm.local.chat_template import (
    named_template,
    read_frames,
    render,
    system_in_first,
)
from tests.unit.llm.local.templates import ALWAYS_THINKING, CHATML, GLM, GOOD, make_tokenizer

TOLD = "You sell laptops."


@pytest.mark.parametrize("system", ["", TOLD])
@pytest.mark.parametrize("name", GOOD)
def test_frames_and_words_make_what_the_template_renders(name: str, system: str) -> None:
    template, end, around = GOOD[name]
    tokenizer = make_tokenizer(template)
    frames = read_frames(tokenizer, system)
    assert (frames.end, frames.answer) == (end, around)
    assert f"{frames.opening}".count(TOLD) == bool(system)
    said = ["Hi", "Yes?", "A laptop", "This one?", "Fine"]
    text = frames.opening[0] + said[0] + frames.opening[1]
    for answer, reply in zip(said[1::2], said[2::2], strict=True):
        text += answer.join(frames.answer) + frames.end
        text += frames.reply[0] + reply + frames.reply[1]
    if name == "thinker":  # an empty thought stays in front of every answer
        text = text.replace("<think>\n\n</think>\n\n", "", 2)
    if system and name in ("mistral", "gemma", "silent"):
        said[0] = f"{system}\n\n{said[0]}"
    messages = [
        {"role": ("user", "assistant")[i % 2], "content": content} for i, content in enumerate(said)
    ]
    if system and name not in ("mistral", "gemma", "silent"):
        messages.insert(0, {"role": "system", "content": system})
    options = {"enable_thinking": False} if name == "thinker" else {}
    assert text == render(tokenizer, messages, **options)


BAD = {
    "no end of an answer": (
        "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}assistant:",
        "ends with no token of its own",
    ),
    "thoughts that cannot be turned off": (ALWAYS_THINKING, "<think>"),
    "the last words first": (
        "{% for m in messages | reverse %}<|user|>{{ m.content }}<|end|>{% endfor %}",
        "prefix of its continuation",
    ),
    "other words": (CHATML.replace("m.content", "m.content | upper"), "changes"),
    "the last message alone": (
        "<|user|>{{ messages[-1].content }}<|end|><|assistant|>",
        "leaves out",
    ),
    "no jinja": ("{% for", "cannot be rendered"),
    "a missing function": ("{{ what() }}{{ messages }}", "cannot be rendered"),
    "numbered turns": (
        "{% for m in messages %}<|user|>{{ loop.length }}{{ m.content }}<|end|>{% endfor %}",
        "prefix of its continuation",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_templates_that_cannot_be_used_are_refused_with_the_reason(name: str) -> None:
    template, reason = BAD[name]
    with pytest.raises(ConvgymError, match=reason) as caught:
        read_frames(make_tokenizer(template), TOLD)
    assert "\n" not in str(caught.value).replace("<think>\\n", "")


def test_of_several_templates_the_default_is_used() -> None:
    several = {"tool_use": GLM, "default": CHATML}
    assert named_template(make_tokenizer(several)) == CHATML
    named = [{"name": name, "template": template} for name, template in several.items()]
    tokenizer = make_tokenizer(CHATML)
    tokenizer.chat_template = named
    assert named_template(tokenizer) == CHATML
    assert read_frames(tokenizer).end == "<|im_end|>"


def test_several_templates_without_a_default_are_named() -> None:
    with pytest.raises(ConvgymError, match="called rag, tool_use"):
        named_template(make_tokenizer({"tool_use": GLM, "rag": CHATML}))


@pytest.mark.parametrize("nothing", [None, "", {}, []])
def test_no_template_is_none(nothing: Any) -> None:
    tokenizer = make_tokenizer(None)
    tokenizer.chat_template = nothing
    assert named_template(tokenizer) is None


@given(
    words=st.lists(
        st.sampled_from(["aardvark", "aardvarkk", "bumblebee", "chinchilla", "echidnaa", "laptop"]),
        min_size=1,
    )
)
def test_a_system_message_may_hold_any_words(words: list[str]) -> None:
    system = " ".join(words)
    frames = read_frames(make_tokenizer(CHATML), system)
    assert frames.opening[0] == f"<|im_start|>system\n{system}<|im_end|>\n<|im_start|>user\n"


def test_a_system_message_moves_in_front_of_the_first_words() -> None:
    system = {"role": "system", "content": "S"}
    user, assistant = {"role": "user", "content": "U"}, {"role": "assistant", "content": "A"}
    assert system_in_first([system, user, assistant]) == [
        {"role": "user", "content": "S\n\nU"},
        assistant,
    ]
    assert system_in_first([system, assistant]) == [{"role": "user", "content": "S"}, assistant]
    assert system_in_first([user]) == [user]
    assert system_in_first([]) == []
