"""``convgym validate --realism``: what it takes is told first, exit code 1 for a contradiction."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from convgym.benchmarks.cli import main
from convgym.customers import CUSTOMERS, register_customer
from convgym.registry import Registry

from .customers import Forgetful, Stranger

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    restored: Callable[[Registry[Any]], None],
) -> Run:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    restored(CUSTOMERS)
    register_customer("stranger", Stranger)
    register_customer("forgetful", Forgetful)

    def call(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as end:
            main.main(["validate", *arguments])
        captured = capsys.readouterr()
        code = end.value.code
        return (code if isinstance(code, int) else 0), captured.out, captured.err

    return call


def test_a_customer_without_a_hidden_state(run: Run, tmp_path: Path) -> None:
    code, out, err = run("stranger", "--realism", "--conversations", "4")
    assert code == 0
    assert "7 sellers: 28 conversations, at most 364 replies" in err
    assert "not measured" in out and "not validated for realism" in out
    assert (tmp_path / "realism/stranger/realism.json").exists()


def test_a_customer_that_contradicts_itself_exits_with_1(run: Run) -> None:
    options = ["--realism", "--conversations", "24", "--original", "scripted", "--output", "out"]
    code, out, _ = run("forgetful", *options, "--original-option", "patience=9")
    assert code == 1 and "not internally consistent" in out
    assert "non-buyers: depth bias" in out


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["stranger", "--reference", "log.jsonl"], "go with --realism"),
        (["stranger", "--original", "scripted"], "go with --realism"),
        (["stranger", "--realism", "--checks", "price"], "drop --checks, --show and --limit"),
        (["stranger", "--realism", "--reference", "log.jsonl"], "cannot read the log log.jsonl"),
        (["stranger", "--realism", "--original", "nope"], "unknown customer 'nope'"),
        (["stranger", "--realism", "--output", "."], "never overwritten"),
    ],
)
def test_mistakes_are_one_line_and_exit_with_2(
    run: Run, arguments: list[str], told: str, tmp_path: Path
) -> None:
    (tmp_path / "kept").touch()
    code, out, err = run(*arguments)
    assert (code, out) == (2, "") and told in err and err.count("\n") == 1
