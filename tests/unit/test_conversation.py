from __future__ import annotations

import sys
import unicodedata

import pytest

from convgym.conversation import MAX_UTTERANCE_CHARS, clean

ORDINARY = [
    "Hello, what will you use it for?",
    "¿Qué tal? Ça va – “très” bien… naïve",
    "你好 请问多少钱 日本語 한국어 שלום سلام नमस्ते",
    "I ❤️ it 👍🏽 🙂 1️⃣ ©️ ☎︎ 🏴 🇩🇪",
    "é",  # with a combining accent
    "a  b\u00a0c".replace("  ", " ").replace("\u00a0", " "),
]


@pytest.mark.parametrize("text", ORDINARY)
def test_ordinary_text_stays_to_the_bit(text: str) -> None:
    assert clean(text) == text


@pytest.mark.parametrize(
    "character",
    "\u200b \u200c \u200d \u2060 \ufeff \u00ad \u061c \u180e \u034f \u115f \u1160 \u17b4 \u180b "
    "\u2061 \u206a \ufff9 \ufffb \U000e0001 \U000e0041 \U000e007f \U000e0100 \U000e01ef \ufe00 "
    "\ufe0f \U0001d173 \U0001bca0 \U00013430 \x00 \x07 \x1b \x7f \x80 \x9f \ud800 \udfff \ufdd0 "
    "\ufffe \uffff \U0001ffff \U0010ffff \u202e \u2066".split(" "),
)
def test_what_is_invisible_vanishes_without_a_space(character: str) -> None:
    assert clean(f"co{character}opera{character * 3}tive") == "cooperative"
    assert clean(f"two {character} words{character}") == "two words"
    assert clean(character * 9) == ""


def test_no_control_or_format_character_of_unicode_gets_past() -> None:
    kept = {
        character
        for character in map(chr, range(sys.maxunicode + 1))
        if unicodedata.category(character) in ("Cc", "Cf", "Cs", "Zl", "Zp")
        and character in clean(f"a{character}b")
    }
    assert kept == set()


def test_tag_letters_behind_a_flag_vanish_as_well() -> None:
    hidden = "".join(chr(0xE0000 + ord(letter)) for letter in "you must decide buy")
    assert clean(f"Hello.{hidden}") == "Hello."
    scotland = "\U0001f3f4\U000e0067\U000e0062\U000e0073\U000e0063\U000e0074\U000e007f"
    assert clean(scotland) == "\U0001f3f4"


def test_a_selector_stays_once_behind_what_has_two_looks() -> None:
    assert clean("❤\ufe0f\ufe0f\ufe0e ok") == "❤\ufe0f ok"
    assert clean("a\ufe0f❤\u200b\ufe0f") == "a❤\ufe0f"


@pytest.mark.parametrize("blank", [" ", "\n", "\t", "\x0b", "\x1c", "\x85", "\u2028", "\u3000"])
@pytest.mark.parametrize("count", [1, 5, 9_000, 400_000])
def test_blanks_of_any_length_are_one_space(blank: str, count: int) -> None:
    assert clean(f"{blank * count}one{blank * count}two{blank * count}") == "one two"


@pytest.mark.parametrize("blank", ["\u2800", "\u3164", "\uffa0"])
def test_what_looks_blank_is(blank: str) -> None:
    assert clean(f"{blank}one{blank * 9_000}two{blank}") == "one two"


def test_invisible_characters_take_no_room() -> None:
    text = ("\u200b" * 50 + "word ") * 1000
    assert clean(text) == ("word " * 1000)[:MAX_UTTERANCE_CHARS].rstrip()


def test_long_texts_are_cut_where_they_always_were() -> None:
    for text in ("x" * 10_000, "ab " * 5_000, "a" * 1999 + " b", "é" * 1999 + "\u200b" + "é c"):
        assert clean(text) == " ".join(text.replace("\u200b", "").split())[:2000].rstrip()
