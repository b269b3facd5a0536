"""Conversations as tokens: blocks, the prefix property, and no way to smuggle special tokens in."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import AddedToken, PreTrainedTokenizerFast

from convgym.agents.model.find_format import find_format
from convgym.agents.model.format import (
    COMPACT_TOKENS,
    CUSTOMER,
    END,
    PAD,
    SELLER,
    chat_format,
    compact_format,
)
from convgym.agents.pretrain import build_tokenizer
from convgym.conversation import Message, clean
from convgym.errors import ConvgymError

TEXTS = ["Hi, I need a laptop.", "What is your budget?", "Around $700.", "Shall I order it?"]
COMPACT = compact_format(build_tokenizer(TEXTS, vocabulary=300))

CHATML = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
FORGETFUL = (
    "{% for message in messages %}{% if loop.last %}<|im_start|>{{ message['content'] }}<|im_end|>"
    "{% endif %}{% endfor %}"
)


def chat_tokenizer(template: str | None) -> Any:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: index for index, token in enumerate(letters)}
    tokenizer.model = models.BPE(vocab=vocabulary, merges=[])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token="<|im_end|>",
        extra_special_tokens=["<|im_start|>"],
        chat_template=template,
    )


def messages(texts: list[str]) -> list[Message]:
    return [
        {"role": "assistant" if index % 2 else "user", "content": text}
        for index, text in enumerate(texts)
    ]


def test_the_compact_format_spells_a_conversation_as_documented() -> None:
    ids = COMPACT.prompt(messages(["Hi.", "What is your budget?", "Around $700."]))
    text = COMPACT.tokenizer.decode(ids)
    assert (
        text == f"{CUSTOMER} Hi.{SELLER} What is your budget?{END}{CUSTOMER} Around $700.{SELLER}"
    )


@pytest.mark.parametrize("format", [COMPACT, chat_format(chat_tokenizer(CHATML), "Sell laptops.")])
@given(texts=st.lists(st.text(max_size=12), min_size=1, max_size=4).map(lambda texts: texts * 2))
def test_a_conversation_is_a_prefix_of_its_continuation(format: Any, texts: list[str]) -> None:
    for turns in range(1, len(texts) - 1, 2):
        shorter = format.prompt(messages(texts[:turns]))
        longer = format.prompt(messages(texts[: turns + 2]))
        assert longer[: len(shorter)] == shorter
        said, heard = texts[turns], texts[turns + 1]
        assert longer[len(shorter) :] == format.response(said) + format.reply(heard)


@given(st.text(max_size=30).filter(lambda text: "<|" not in text))
def test_a_response_survives_encoding(text: str) -> None:
    assert COMPACT.decode(COMPACT.response(text)) == clean(text)


@pytest.mark.parametrize("token", COMPACT_TOKENS)
def test_words_cannot_smuggle_special_tokens_in(token: str) -> None:
    special = COMPACT.tokenizer.convert_tokens_to_ids(token)
    frame = COMPACT.reply("")
    spelt = COMPACT.reply(f"hello{token}goodbye")
    assert spelt.count(special) == frame.count(special)
    # Nor may a removed token's neighbours form another one.
    assert COMPACT.reply(f"<|e{token}nd|>").count(special) == frame.count(special)


def test_only_the_end_of_the_special_tokens_may_be_sampled() -> None:
    specials = {COMPACT.tokenizer.convert_tokens_to_ids(token) for token in COMPACT_TOKENS}
    assert set(COMPACT.forbidden_ids) == specials - {COMPACT.end_id}
    assert COMPACT.end_id == COMPACT.tokenizer.convert_tokens_to_ids(END)
    assert COMPACT.pad_id == COMPACT.tokenizer.convert_tokens_to_ids(PAD)


def test_the_chat_format_spells_what_the_template_spells() -> None:
    tokenizer = chat_tokenizer(CHATML)
    conversation = messages(["Hi there.", "Hello! Your budget?", "  $700, or so"])
    briefing: Any = {"role": "system", "content": "Sell laptops."}
    text = tokenizer.apply_chat_template(
        [briefing, *conversation], tokenize=False, add_generation_prompt=True
    )
    expected = tokenizer.encode(text, add_special_tokens=False)
    assert list(chat_format(tokenizer, "Sell laptops.").prompt(conversation)) == expected


def test_a_template_that_rewrites_the_past_is_refused() -> None:
    with pytest.raises(ConvgymError, match="prefix"):
        chat_format(chat_tokenizer(FORGETFUL), "")


def test_the_format_is_found_by_the_tokenizer() -> None:
    assert find_format(COMPACT.tokenizer, "").reply("Hi.") == COMPACT.reply("Hi.")
    chat = chat_tokenizer(CHATML)
    assert find_format(chat, "Sell.").opening("Hi.") == chat_format(chat, "Sell.").opening("Hi.")
    with pytest.raises(ConvgymError, match="chat template"):
        find_format(chat_tokenizer(None), "")


@pytest.mark.parametrize("special", [True, False])
def test_thoughts_are_no_words_of_a_response(special: bool) -> None:
    tokenizer = chat_tokenizer(CHATML)
    if special:  # they vanish in decoding, and would leave the thoughts
        tokenizer.add_tokens([AddedToken(mark, special=True) for mark in ("[THINK]", "[/THINK]")])
    format = chat_format(tokenizer, "")
    encoded = tokenizer.encode("[THINK]" + "Hm. " * 3000 + "[/THINK]Hello there.")
    assert format.decode([*encoded, format.end_id]) == "Hello there."
