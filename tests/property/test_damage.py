"""Whatever happens to a results folder, a command ends with one line or with a right report."""

from __future__ import annotations

import io
import json
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from convgym.benchmarks.cli.main import main
from convgym.benchmarks.runs import runner, suites
from convgym.benchmarks.runs.runner import run_suite
from tests.unit.benchmarks.conftest import SUITE, World

FILES = (
    "manifest.json",
    "results.jsonl",
    "curves.jsonl",
    "training.jsonl",
    "conversations/bc-seed0.jsonl",
    "conversations/silent.jsonl",
    "agents/bc-seed1/steps.json",
)
DEEP = '{"a":' * 100_000
JUNK: tuple[Any, ...] = (None, True, -1, 10**30, 0.5, "x", "\x1b[2J", "../..", [], {}, ["x"])
RAW = ("NaN", "Infinity", "1e999", "[" * 100_000, '"\\ud800"', '"a')

Damage = Callable[[Path], None]


def _bytes(change: Callable[[bytes], bytes]) -> Damage:
    def damage(path: Path) -> None:
        path.write_bytes(change(path.read_bytes()))

    return damage


def _lines(change: Callable[[list[bytes]], list[bytes]]) -> Damage:
    return _bytes(lambda data: b"".join(change(data.splitlines(keepends=True))))


def _fields(data: Any) -> Iterator[tuple[Any, Any]]:
    """Yield every container within ``data`` with each of its keys."""
    for key, value in list(data.items() if isinstance(data, dict) else enumerate(data)):
        yield data, key
        if isinstance(value, dict | list):
            yield from _fields(value)


@st.composite
def cuts(draw: st.DrawFn) -> Damage:
    """Cut a file off, tear a piece out of it, or put something into it."""
    share = draw(st.floats(0, 1))
    kind = draw(st.sampled_from(["empty", "cut", "tear", "insert", "flip"]))
    junk = draw(
        st.binary(min_size=1, max_size=6) | st.sampled_from([b"\n", b"\xef\xbb\xbf", b"\0"])
    )

    def change(data: bytes) -> bytes:
        at = round(share * max(len(data) - 1, 0))
        return {
            "empty": b"",
            "cut": data[:at],
            "tear": data[:at] + data[at + len(junk) :],
            "insert": data[:at] + junk + data[at:],
            "flip": data[:at] + bytes(byte ^ 4 for byte in data[at : at + 1]) + data[at + 1 :],
        }[kind]

    return _bytes(change)


@st.composite
def shuffles(draw: st.DrawFn) -> Damage:
    """Double, lose, move or add lines."""
    kind = draw(st.sampled_from(["double", "lose", "reverse", "add", "deep"]))
    number = draw(st.integers(0, 9))

    def change(lines: list[bytes]) -> list[bytes]:
        at = number % max(len(lines), 1)
        return {
            "double": lines + lines[at : at + 1],
            "lose": lines[:at] + lines[at + 1 :],
            "reverse": lines[::-1],
            "add": [*lines[:at], b"garbage\n", *lines[at:]],
            "deep": [*lines[:at], DEEP.encode() + b"\n", *lines[at:]],
        }[kind]

    return _lines(change)


@st.composite
def edits(draw: st.DrawFn) -> Damage:
    """Lose a field, or give it a value of another kind."""
    line, field = draw(st.integers(0, 9)), draw(st.integers(0, 99))
    value = draw(st.sampled_from([..., *JUNK, *map(Raw, RAW)]))

    def change(path: Path) -> None:
        whole = path.suffix == ".json"
        texts = [path.read_text()] if whole else path.read_text().splitlines()
        if not texts:
            return
        data = json.loads(texts[line % len(texts)])
        places = list(_fields(data))
        container, key = places[field % len(places)]
        if value is ...:
            del container[key]
        else:
            container[key] = "@raw@" if isinstance(value, Raw) else value
        text = json.dumps(data)
        if isinstance(value, Raw):
            text = text.replace('"@raw@"', value.text)
        texts[line % len(texts)] = text
        path.write_text("\n".join(texts) + "\n")

    return change


class Raw:
    """A value that ``json.dumps`` would not write."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        return self.text[:20]


def _replace(make: Callable[[Path], object]) -> Damage:
    def change(path: Path) -> None:
        path.unlink()
        make(path)

    return change


def _link(path: Path) -> None:
    path.symlink_to(path.parents[len(path.parents) - 1] / _outside(path))


def _outside(path: Path) -> Path:
    return next(parent for parent in path.parents if parent.name == "run").parent / "mine"


def _part(path: Path) -> None:
    path.with_name(f".{path.name}.part").write_text("half")
    path.with_name(f".part-{path.name}").write_text("half")


DAMAGES = (
    cuts()
    | shuffles()
    | edits()
    | st.sampled_from(
        [
            _replace(lambda path: None),
            _replace(lambda path: path.mkdir()),
            _replace(_link),
            _part,
        ]
    )
)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole")
    run_suite(SUITE, folder, parts=World())
    return folder


@pytest.fixture(scope="module")
def right(whole: Path) -> dict[str, str]:
    """What the report of the whole folder says."""
    told = rates(call("report", str(whole))[1])
    assert len(told) == 5
    return told


def call(*arguments: str) -> tuple[int, str, str]:
    """Run the command line on stand-ins; anything but an exit comes through."""
    out, err = io.StringIO(), io.StringIO()
    no_picture = ModuleNotFoundError("No module named 'matplotlib'", name="matplotlib")
    with ExitStack() as stack:
        stack.enter_context(mock.patch.object(suites, "get_suite", lambda name: SUITE))
        stack.enter_context(mock.patch.object(runner, "default_parts", World))
        stack.enter_context(
            mock.patch("convgym.benchmarks.report.write.learning_curves", side_effect=no_picture)
        )
        stack.enter_context(redirect_stdout(out))
        stack.enter_context(redirect_stderr(err))
        try:
            main(arguments)
            code: Any = 0
        except SystemExit as end:
            code = end.code or 0
    return code, out.getvalue(), err.getvalue()


def rates(out: str) -> dict[str, str]:
    """Return the conversion of everybody in a table."""
    rows = re.findall(r"^ +([\w-]+(?: \(2 seeds\))?) +(\d+\.\d \[[^\]]*\])", out, re.M)
    return dict(rows)


@settings(max_examples=100)
@given(file=st.sampled_from(FILES), damage=DAMAGES, command=st.sampled_from(["report", "bench"]))
def test_a_damaged_folder_is_told_mended_or_reported_rightly(
    whole: Path, right: dict[str, str], file: str, damage: Damage, command: str
) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        folder, mine = Path(scratch) / "run", Path(scratch) / "mine"
        shutil.copytree(whole, folder)
        mine.write_text("mine")
        damage(folder / file)
        arguments = ["report", str(folder)]
        if command == "bench":
            arguments = ["bench", "tiny", "--output", str(folder)]
        code, out, err = call(*arguments)
        assert mine.read_text() == "mine"
        assert not {"\x1b", "\r", "\0"} & set(out + err)
        if code:
            assert code in (1, 2) and out == ""
            assert err.splitlines()[-1].startswith("convgym: error: ")
            return
        told = rates(out)
        lost = set(right) - set(told)
        if command == "bench":
            assert not lost and "NOT WHOLE" not in out
        for name, rate in right.items():
            short = name.partition(" ")[0]
            missing = re.search(rf"NOT WHOLE.*\b{short}\b", out) is not None
            assert missing or told.get(name) == rate, (name, out)
