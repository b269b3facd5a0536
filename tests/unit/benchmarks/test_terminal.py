"""What reaches the terminal."""

from __future__ import annotations

import io
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from convgym.benchmarks.terminal import printable, say
from convgym.terminal import tolerate_consoles


@given(st.text())
def test_nothing_that_is_said_steers_a_terminal(text: str) -> None:
    shown = printable(text)
    assert not {chr(n) for n in (*range(32), *range(127, 160))} - {"\n", "\t"} & set(shown)
    assert not set("\u202e\u2066\u200f") & set(shown)
    assert printable(shown) == shown


def test_ordinary_text_stays_and_escapes_are_spelt_out() -> None:
    assert printable("a\tb\n– 日本 👍") == "a\tb\n– 日本 👍"
    assert printable("\x1b[31mred\x07\r") == "\\x1b[31mred\\x07\\r"


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "utf-8"])
def test_any_text_is_shown_in_any_encoding(monkeypatch: pytest.MonkeyPatch, encoding: str) -> None:
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding=encoding))
    tolerate_consoles()
    say("Hi – 日本 👍")
    shown = raw.getvalue().decode(encoding)
    assert shown.startswith("Hi ") and ("?" in shown) == (encoding != "utf-8")


def test_a_closed_output_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", None)
    tolerate_consoles()
