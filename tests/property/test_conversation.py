from __future__ import annotations

import unicodedata
from typing import Literal

from hypothesis import given
from hypothesis import strategies as st

from convgym.conversation import MAX_UTTERANCE_CHARS, Message, clean, render

# With surrogates, controls and everything else that a Python string can hold.
ANY_TEXT = st.text(st.characters(exclude_categories=()), max_size=200)
LONG_TEXT = st.builds(lambda piece, n: piece * n, ANY_TEXT, st.integers(1, 100))


@given(ANY_TEXT | LONG_TEXT)
def test_clean_text_is_one_short_printable_line(text: str) -> None:
    cleaned = clean(text)
    assert len(cleaned) <= MAX_UTTERANCE_CHARS
    assert len(cleaned.splitlines()) <= 1
    assert cleaned.encode().decode() == cleaned
    assert not any(unicodedata.category(character) in ("Cc", "Cf", "Cs") for character in cleaned)
    assert "  " not in cleaned
    assert not cleaned.startswith(" ")


@given(st.text(st.characters(codec="ascii", exclude_categories=["Cc"]), max_size=100))
def test_ordinary_words_stay_as_they_are(text: str) -> None:
    assert clean(text).split() == text.split()


WORDS = st.lists(st.text("abcé日❤", min_size=1, max_size=6), max_size=8)
INVISIBLE = st.text("\u200b\u200c\u200d\xad\u061c\U000e0041\x00\x07\ufeff", max_size=3)


@given(WORDS, st.data())
def test_what_is_invisible_neither_parts_nor_joins_words(
    words: list[str], data: st.DataObject
) -> None:
    hidden = " ".join("".join(letter + data.draw(INVISIBLE) for letter in word) for word in words)
    assert clean(data.draw(INVISIBLE) + hidden) == " ".join(words)


@given(ANY_TEXT)
def test_cleaning_clean_text_changes_nothing(text: str) -> None:
    assert clean(clean(text)) == clean(text)


ROLES = st.sampled_from(["user", "assistant"])


@given(st.lists(st.tuples(ROLES, ANY_TEXT.map(clean)), max_size=8))
def test_a_rendered_conversation_can_be_told_apart(
    spoken: list[tuple[Literal["user", "assistant"], str]],
) -> None:
    messages: list[Message] = [{"role": role, "content": content} for role, content in spoken]
    lines = render(messages).split("\n") if messages else []
    speakers = {"Customer": "user", "Seller": "assistant"}
    parts = [line.partition(": ") for line in lines]
    assert [(speakers[speaker], content) for speaker, _, content in parts] == spoken
