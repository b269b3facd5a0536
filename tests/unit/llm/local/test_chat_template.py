"""Frames are read off chat templates of every usual make, or refused with the reason."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from convgym.errors import ConvgymError
from convgym.llm.local.chat_template import (
    named_template,
    read_frames,
    render,
    system_in_first,
)

TAGS = [
    *("<s>", "</s>", "<bos>", "<eos>", "<|im_start|>", "<|im_end|>", "<start_of_turn>"),
    *("<end_of_turn>", "<|endoftext|>", "<|end|>", "<|user|>", "<|assistant|>", "<|system|>"),
    *("<|eot_id|>", "<|start_header_id|>", "<|end_header_id|>", "[INST]", "[/INST]"),
]
CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
GEMMA = (
    "{{ bos_token }}{% for m in messages %}{% if m.role == 'system' %}"
    "{{ raise_exception('System role not supported') }}{% endif %}"
    "{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Conversation roles must alternate') }}{% endif %}"
    "<start_of_turn>{{ 'model' if m.role == 'assistant' else m.role }}\n"
    "{{ m.content | trim }}<end_of_turn>\n{% endfor %}"
    "{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}"
)
PHI = (
    "{% for m in messages %}<|{{ m.role }}|>\n{{ m.content }}<|end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n{% else %}{{ eos_token }}{% endif %}"
)
LLAMA2 = (
    "{% if messages[0].role == 'system' %}{% set system = '<<SYS>>\n' + messages[0].content + "
    "'\n<</SYS>>\n\n' %}{% set messages = messages[1:] %}{% else %}{% set system = '' %}{% endif %}"
    "{% for m in messages %}{% if m.role == 'user' %}{{ bos_token }}[INST] "
    "{{ (system if loop.first else '') + m.content }} [/INST]"
    "{% else %} {{ m.content }} {{ eos_token }}{% endif %}{% endfor %}"
)
MISTRAL = (  # the system message stands in front of the last words, anew each turn
    "{{ bos_token }}{% if messages[0].role == 'system' %}{% set system = messages[0].content %}"
    "{% set messages = messages[1:] %}{% endif %}"
    "{% for m in messages %}{% if m.role == 'user' %}[INST] "
    "{% if loop.last and system is defined %}{{ system }}\n\n{% endif %}{{ m.content }}[/INST]"
    "{% else %} {{ m.content }}{{ eos_token }}{% endif %}{% endfor %}"
)
LLAMA3 = (
    "{% for m in messages %}{% if loop.first %}{{ bos_token }}{% endif %}"
    "<|start_header_id|>{{ m.role }}<|end_header_id|>\n\n{{ m.content | trim }}<|eot_id|>"
    "{% endfor %}{% if add_generation_prompt %}"
    "<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}"
)
GLM = (  # an answer ends where the next turn begins
    "{% for m in messages %}<|{{ m.role }}|>\n{{ m.content }}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)
SILENT = CHATML.replace("{% for m in messages %}", "{% for m in messages if m.role != 'system' %}")
QWEN3 = CHATML.replace(
    "assistant\n{% endif %}",
    "assistant\n{% if enable_thinking is defined and not enable_thinking %}"
    "<think>\n\n</think>\n\n{% endif %}{% endif %}",
)
THINKER = CHATML.replace(
    "assistant\n{% endif %}",
    "assistant\n<think>\n{% if enable_thinking is defined and not enable_thinking %}"
    "{{ '\n</think>\n\n' }}{% endif %}{% endif %}",
)
ALWAYS_THINKING = CHATML.replace("assistant\n{% endif %}", "assistant\n<think>\n{% endif %}")


def make_tokenizer(template: Any, eos: str | None = "</s>", bos: str | None = "<s>") -> Any:
    """Return a byte-level tokenizer with all of the tags as tokens of their own."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE({letter: i for i, letter in enumerate(letters)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=eos, bos_token=bos)
    fast.add_special_tokens({"extra_special_tokens": TAGS})
    fast.chat_template = template
    return fast


GOOD = {
    "chatml": (CHATML, "<|im_end|>", ("", "")),
    "gemma": (GEMMA, "<end_of_turn>", ("", "")),
    "phi": (PHI, "<|end|>", ("", "")),
    "llama2": (LLAMA2, "</s>", (" ", " ")),
    "mistral": (MISTRAL, "</s>", (" ", "")),
    "llama3": (LLAMA3, "<|eot_id|>", ("", "")),
    "glm": (GLM, "<|user|>", ("", "")),
    "silent": (SILENT, "<|im_end|>", ("", "")),
    "qwen3": (QWEN3, "<|im_end|>", ("", "")),
    "thinker": (THINKER, "<|im_end|>", ("", "")),
}
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
