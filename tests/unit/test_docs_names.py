"""What documentation, docstrings and comments name is there: modules, files, commands, options."""

from __future__ import annotations

import functools
import importlib
import importlib.util
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

from convgym.benchmarks.cli.app import make_app
from convgym.benchmarks.studies import STUDIES
from convgym.errors import ConvgymError

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md")),
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "examples").rglob("*.md")),
]
SOURCES = [
    path
    for folder in ("convgym", "agents", "benchmarks", "examples")
    for path in sorted((ROOT / folder).rglob("*.py"))
]
DOTTED = re.compile(r"(?<![\w./@-])convgym(?:\.[A-Za-z_]\w*)+")
PLACE = re.compile(
    r"(?<![\w/.*])(?:agents|benchmarks|convgym|docs|examples|tests)/[\w./-]*\w\.(?:py|md|json|toml)\b"
)
FILE = re.compile(r"`([\w/]+\.py)`")
# In backticks, by their path, or set off as code.
COMMAND = re.compile(r"(?:`|bin/|^ {4}|```sh\n)convgym ([a-z][^`#|&\n]*)", flags=re.MULTILINE)
# Not modules: the groups of entry points, and what rows of logs are called.
GROUPS = {
    f"convgym.{kind}"
    for kind in ("agents", "backends", "customers", "improvements", "sellers", "studies", "suites")
}
NO_MODULES = GROUPS | {"convgym.episode"}
PLACEHOLDERS = {"mine.py", "mine.md", "x.py", "chooser.py"}  # files that a reader is to write


def texts() -> Iterator[tuple[Path, str]]:
    for path in (*DOCUMENTS, *SOURCES):
        yield path.relative_to(ROOT), path.read_text(encoding="utf-8")


def resolves(name: str) -> bool:
    """Tell whether a dotted name is a module, or an attribute of one."""
    parts = name.split(".")
    for end in range(len(parts), 0, -1):
        try:
            thing: object = importlib.import_module(".".join(parts[:end]))
        except ModuleNotFoundError:
            continue
        except ConvgymError:  # a door whose package is not installed
            return defines(".".join(parts[:end]), parts[end:])
        for attribute in parts[end:]:
            if not hasattr(thing, attribute):
                return False
            thing = getattr(thing, attribute)
        return True
    return False


def defines(module: str, names: list[str]) -> bool:
    """Tell whether the source of a module, which cannot be imported, defines what is named."""
    spec = importlib.util.find_spec(module)
    assert spec is not None and spec.origin is not None
    source = Path(spec.origin).read_text(encoding="utf-8")
    return all(re.search(rf"^ *(class|(async )?def) {name}\b", source, re.M) for name in names)


def test_every_module_that_is_named_is_there() -> None:
    pytest.importorskip("torch")
    named = {(name, path) for path, text in texts() for name in DOTTED.findall(text)}
    assert len(named) > 500
    known = {name: name in NO_MODULES or resolves(name) for name, _ in named}
    assert not [f"{path}: {name}" for name, path in sorted(named) if not known[name]]


def test_every_file_that_is_named_is_there() -> None:
    named = {(place, path) for path, text in texts() for place in PLACE.findall(text)}
    assert len(named) > 50
    assert not [
        f"{path}: {place}"
        for place, path in sorted(named)
        if Path(place).name not in PLACEHOLDERS
        and not any((folder / place).exists() for folder in (ROOT, (ROOT / path).parent))
    ]


def test_every_file_in_backticks_is_there() -> None:
    """Also without its folder, or with a part of it."""
    folders = ("convgym", "agents", "benchmarks", "docs", "examples", "tests")
    there = [
        "/" + str(p.relative_to(ROOT)) for name in folders for p in (ROOT / name).rglob("*.py")
    ]
    named = {(place, path) for path, text in texts() for place in FILE.findall(text)}
    assert len(named) > 50
    assert not [
        f"{path}: {place}"
        for place, path in sorted(named)
        if Path(place).name not in PLACEHOLDERS
        and not any(file.endswith(f"/{place}") for file in there)
    ]


whole_command = functools.cache(lambda: get_command(make_app()))


def mistake_in(line: str) -> str | None:
    """Return what of a command line, without the program's name, is not there."""
    words = shlex.split(line.replace("'", " "))
    command = whole_command()
    while isinstance(command, TyperGroup):
        if not words:
            return None
        if command.name == "study":  # its options are its own
            return None if words[0] in {"NAME", *STUDIES.names()} else f"no study {words[0]}"
        inner = command.get_command(typer.Context(command), words[0])
        if inner is None:
            return f"no command {words[0]}"
        command, words = inner, words[1:]
    assert isinstance(command, TyperCommand)
    options = {option for parameter in command.params for option in parameter.opts} | {"--help"}
    unknown = [word for word in words if word.startswith("--") and word not in options]
    return f"no option {unknown[0]}" if unknown else None


def test_every_command_that_is_named_is_there() -> None:
    named = {(line, path) for path, text in texts() for line in COMMAND.findall(text)}
    assert len(named) > 50
    mistakes = {line: mistake_in(line) for line, _ in named}
    assert not [
        f"{path}: convgym {line}: {mistakes[line]}" for line, path in named if mistakes[line]
    ]


@pytest.mark.parametrize(
    ("line", "mistake"),
    [
        ("bench quick --seed 1", None),
        ("bench quick --sede 1", "no option --sede"),
        ("logs write FILE", None),
        ("logs right FILE", "no command right"),
        ("study speed", None),
        ("study haste", "no study haste"),
        ("paint", "no command paint"),
    ],
)
def test_wrong_commands_are_found(line: str, mistake: str | None) -> None:
    assert mistake_in(line) == mistake


def test_wrong_names_are_found() -> None:
    assert resolves("convgym.rollout.rollout") and not resolves("convgym.rollout.rollin")
    assert not resolves("convgym.nowhere")
