"""Every command's help ends with examples, and every example is one."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

import pytest
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command
from typer.testing import CliRunner

from convgym.benchmarks.cli.app import make_app

APP = make_app()


def commands() -> Iterator[tuple[str, TyperCommand | TyperGroup]]:
    """Yield every command and group by its path; studies are no commands of ours."""
    waiting: list[tuple[str, object]] = [("convgym", get_command(APP))]
    while waiting:
        path, command = waiting.pop()
        assert isinstance(command, TyperCommand | TyperGroup)
        yield path, command
        if isinstance(command, TyperGroup) and command.name != "study":
            waiting += [(f"{path} {name}", inner) for name, inner in command.commands.items()]


COMMANDS = dict(commands())


def lines(command: TyperCommand | TyperGroup) -> list[str]:
    title, *given = (command.epilog or "").splitlines()
    assert title == "Examples:"
    return [line.strip() for line in given]


def parse(line: str) -> str:
    """Parse a line as the command line does, and return whose it is; raises for a mistake."""
    program, *words = shlex.split(line)
    assert program == "convgym"
    path, command = "convgym", COMMANDS["convgym"]
    while isinstance(command, TyperGroup) and words[0] in command.commands:
        path = f"{path} {words.pop(0)}"
        command = COMMANDS[path]
    command.make_context(path, words)
    return path


@pytest.mark.parametrize("path", COMMANDS)
def test_examples_parse(path: str) -> None:
    examples = lines(COMMANDS[path])
    assert examples
    for example in examples:
        of = parse(example)
        assert f"{of} ".startswith(f"{path} ") or path == "convgym study"


def test_a_wrong_example_would_be_found() -> None:
    with pytest.raises(Exception, match="No such option"):
        parse("convgym bench quick --no-such-option")
    with pytest.raises(Exception, match="Missing parameter: path"):
        parse("convgym logs validate")


@pytest.mark.parametrize("arguments", ["", "bench", "logs import", "study"])
def test_help_shows_them_a_line_each(arguments: str) -> None:
    shown = CliRunner().invoke(APP, [*arguments.split(), "--help"], env={"COLUMNS": "120"})
    examples = lines(COMMANDS[" ".join(["convgym", *arguments.split()])])
    told = [line.strip() for line in shown.output.splitlines()]
    assert [line for line in told if line.startswith("convgym ")] == examples


def test_completion_can_be_installed() -> None:
    shown = CliRunner().invoke(APP, ["--help"], env={"COLUMNS": "120"})
    assert "--install-completion" in shown.output
