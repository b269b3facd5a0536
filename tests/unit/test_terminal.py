from __future__ import annotations

import io
import subprocess
import sys
from typing import Any

import pytest

from convgym.envs import SalesEnv
from convgym.terminal import show, tolerate_consoles

WORDS = "caf\xe9 \u2013 \u65e5\u672c \U0001f44d \ud800 \xa3"


ENCODINGS = ["ascii", "cp1252", "cp437", "utf-8"]


def console_of(monkeypatch: pytest.MonkeyPatch, encoding: str) -> Any:
    """Let the program have a console of this encoding."""
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    monkeypatch.setattr(sys, "stdout", stream)
    return stream


def shown(console: Any) -> str:
    console.flush()
    return str(console.buffer.getvalue().decode(console.encoding))


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_what_cannot_be_shown_is_a_question_mark(
    monkeypatch: pytest.MonkeyPatch, encoding: str
) -> None:
    console = console_of(monkeypatch, encoding)
    show(WORDS)
    text = shown(console)
    assert text.endswith("\n")
    assert len(text.rstrip("\n")) == len(WORDS)
    assert text.startswith("caf")
    assert "?" in text  # half a character is one everywhere


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_an_environment_that_prints(monkeypatch: pytest.MonkeyPatch, encoding: str) -> None:
    console = console_of(monkeypatch, encoding)
    env = SalesEnv(render_mode="human")
    env.reset(seed=1)
    env.step("Is the \u65e5\u672c keyboard fine? \U0001f44d")
    lines = shown(console).splitlines()
    assert len(lines) == 3
    assert lines[1].startswith("Seller: Is the ")


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_plain_print_does_not_end_a_program(monkeypatch: pytest.MonkeyPatch, encoding: str) -> None:
    console = console_of(monkeypatch, encoding)
    tolerate_consoles()
    print(WORDS)
    assert shown(console).startswith("caf")


def test_streams_that_cannot_be_set_stay_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    tolerate_consoles()


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
def test_the_command_line(encoding: str) -> None:
    code = "from convgym.benchmarks.cli.main import main; main(['chat', '--seller', 'human'])"
    done = subprocess.run(
        [sys.executable, "-c", code],
        input="Is the \u65e5\u672c one fine?\nShall I order?\n".encode() * 20,
        capture_output=True,
        env={"PYTHONIOENCODING": encoding},
    )
    assert done.returncode == 0, done.stderr
    assert b"Customer: " in done.stdout
