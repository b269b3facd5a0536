"""The commands in the README of the imported logs run as they stand there."""

from __future__ import annotations

import re
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from convgym.benchmarks.cli import main
from convgym.logs import read_log

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "imported_logs"
TEXT = (EXAMPLE / "README.md").read_text(encoding="utf-8")
COMMANDS = re.search(r"```sh\n(.*?)```", TEXT, flags=re.DOTALL)[1].splitlines()  # type: ignore[index]
Run = Callable[[str], str]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command of the README in a folder that has the example."""
    shutil.copytree(EXAMPLE, tmp_path / "examples" / "imported_logs")
    monkeypatch.chdir(tmp_path)

    def run(command: str) -> str:
        name, *arguments = shlex.split(command)
        assert name == "convgym"
        with pytest.raises(SystemExit) as end:
            main.main(arguments)
        captured = capsys.readouterr()
        assert not end.value.code, captured.err
        return captured.out

    return run


def test_the_logs_are_imported_and_exported(run: Run, tmp_path: Path) -> None:
    pytest.importorskip("minari")
    pytest.importorskip("pyarrow")
    shop, assistant, validated, *exported, again = map(run, COMMANDS[:-1])
    assert "wrote 37 conversations to shop.jsonl, 17 sales" in shop
    assert "keeps 37 of 40 conversations, 17 of them" in TEXT
    assert "wrote 16 conversations to assistant.jsonl, 7 sales" in assistant
    assert "second one 16 of 19, 7 of them" in " ".join(TEXT.split())
    for reason in ("nothing says how it ended", "cannot be read", "put in order", "the last word"):
        assert reason in shop
    for reason in ("the same as an earlier one", "its id has a number now", "no text"):
        assert reason in assistant
    assert validated.startswith("shop.jsonl: 37 whole conversations (17 purchase, 20 walk away)")
    assert all("wrote 37 conversations" in output for output in [*exported, again])
    first, second = (read_log(tmp_path / name).episodes for name in ("shop.jsonl", "again.jsonl"))
    assert [(e.seed, e.turns, e.outcome) for e in first] == [
        (e.seed, e.turns, e.outcome) for e in second
    ]
    assert any("🚲" in episode.opening for episode in first)
    assert any("أبحث" in episode.opening for episode in first)


@pytest.mark.slow
def test_an_agent_learns_from_them(run: Run, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    run(COMMANDS[0])
    output = run(COMMANDS[-1])
    (row,) = [line for line in output.splitlines() if line.split()[:1] == ["filtered-bc"]]
    assert " 37 " in row
