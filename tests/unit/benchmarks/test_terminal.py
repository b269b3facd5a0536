"""What reaches the terminal."""

from __future__ import annotations

import errno
import io
import json
import sys
from contextlib import nullcontext

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.table import Table

from convgym.benchmarks.terminal import errors_in_one_line, printable, say, show_table
from convgym.errors import ConvgymError, OwnError, whose
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


@pytest.mark.parametrize("error", [KeyError("k"), EOFError(), SystemExit(0), BrokenPipeError()])
def test_errors_of_others_code_come_with_their_traceback_and_whose_they_are(
    capsys: pytest.CaptureFixture[str], error: BaseException
) -> None:
    with pytest.raises(SystemExit) as caught, errors_in_one_line(), whose("seller 'mine:S'"):
        raise error
    *shown, last = capsys.readouterr().err.strip().splitlines()
    assert caught.value.code == 1 and any("raise error" in line for line in shown)
    assert last.startswith(f"convgym: error: seller 'mine:S' raised {type(error).__name__}")
    assert "test_terminal.py, line" in last


def test_the_place_of_an_error_is_in_the_code_of_whoever_can_mend_it() -> None:
    def of_ones_own(text: str) -> object:
        return json.loads(text)  # the error is raised deep inside Python

    with pytest.raises(OwnError, match=r"test_terminal\.py, line \d+, in of_ones_own"), whose("x"):
        of_ones_own("{")


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "f"), "No space left on device: f"),
        (
            ModuleNotFoundError("no trl", name="trl.x"),
            "this needs trl, which is not installed: ",
        ),
    ],
)
def test_a_full_disk_and_a_missing_package_are_nobodys_error(
    capsys: pytest.CaptureFixture[str], error: Exception, told: str
) -> None:
    with pytest.raises(SystemExit) as caught, errors_in_one_line(), whose("agent 'bc'"):
        raise error
    (line,) = capsys.readouterr().err.splitlines()
    assert caught.value.code == 2 and line.startswith(f"convgym: error: {told}")


def test_an_interruption_is_nobodys_error() -> None:
    with pytest.raises(KeyboardInterrupt), whose("agent 'bc'"):
        raise KeyboardInterrupt
    with pytest.raises(OwnError, match=r"^a raised KeyError: 1"), whose("b"), whose("a"):
        raise KeyError(1)


def test_what_a_library_makes_of_an_interruption_is_one(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught, errors_in_one_line():
        try:
            raise KeyboardInterrupt
        except KeyboardInterrupt as error:
            raise ConvgymError("cannot import it") from error
    assert (caught.value.code, capsys.readouterr().err) == (130, "interrupted\n")


def test_what_comes_after_an_interruption_that_was_understood_is_none(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as caught, errors_in_one_line():
        try:
            raise KeyboardInterrupt
        except KeyboardInterrupt:
            raise ConvgymError("you left") from None
    assert (caught.value.code, capsys.readouterr().err) == (2, "convgym: error: you left\n")


@pytest.mark.parametrize("of_its_own", [True, False])
def test_full_memory_is_one_line_that_says_what_to_lower(
    capsys: pytest.CaptureFixture[str], of_its_own: bool
) -> None:
    who = whose("agent 'bc'") if of_its_own else nullcontext()
    with pytest.raises(SystemExit) as caught, errors_in_one_line(), who:
        raise RuntimeError("CUDA out of memory.\nTried to allocate 2 GiB")
    error = capsys.readouterr().err
    assert caught.value.code == 1 and error.count("\n") == 1
    assert "CUDA out of memory. Tried to allocate" in error and "policy.reading_batch" in error


@pytest.mark.parametrize("columns", ["20", "80", "400"])
@pytest.mark.parametrize("forced", [False, True])
def test_no_cell_of_a_table_is_cut(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    columns: str,
    forced: bool,
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    if forced:
        monkeypatch.setenv("FORCE_COLOR", "1")  # which a console takes for a terminal
    cells = [f"a cell of some width, number {number}" for number in range(9)]
    table = Table(title="what this is")
    for cell in cells:
        table.add_column(cell, no_wrap=True)
    table.add_row(*cells)
    show_table(table)
    shown = capsys.readouterr().out
    assert "…" not in shown and all(shown.count(cell) == 2 for cell in cells)
    assert len(max(shown.splitlines(), key=len)) > 250
