"""``convgym validate``: what it takes is told first, exit code 1 for a failed check."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from convgym.benchmarks.cli import main
from convgym.benchmarks.validation.limits import Limits
from convgym.customers import CUSTOMERS, Reply, register_customer
from convgym.registry import Registry

from .bad_customers import Good, Obedient

ROOT = Path(__file__).resolve().parents[4]

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    restored: Callable[[Registry[Any]], None],
) -> Run:
    monkeypatch.chdir(tmp_path)
    restored(CUSTOMERS)
    register_customer("good", Good)
    register_customer("obedient", Obedient)

    def call(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as end:
            main.main(["validate", *arguments])
        captured = capsys.readouterr()
        code = end.value.code
        return (code if isinstance(code, int) else 0), captured.out, captured.err

    return call


def test_a_customer_that_only_warns_exits_with_0(run: Run, tmp_path: Path) -> None:
    code, out, err = run("good", "--conversations", "5", "--checks", "attacks, role")
    assert code == 0
    assert "2 checks, 14 sellers: 70 conversations, at most 910 replies" in err
    assert "2 warn" in out and "report    validation/good/report.md" in out
    assert (tmp_path / "validation/good/report.md").exists()


class Buggy(Good):
    """Has a mistake in one branch."""

    def respond(self, utterance: str) -> Reply:
        replies: dict[str, Reply] = {}
        return replies["price"] if "budget" in utterance else super().respond(utterance)


def test_a_mistake_in_the_customers_own_code_is_told_as_its_own(run: Run) -> None:
    register_customer("buggy", Buggy)
    code, _, err = run("buggy", "--conversations", "3", "--checks", "separation")
    assert code == 1
    told = err.strip().splitlines()[-1]
    assert told.startswith("convgym: error: customer 'buggy' raised KeyError: 'price' (test_comman")
    assert "raised by respond of customer Buggy, episode seed" in err


def test_slow_customers_are_reported_on_without_a_terminal(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("convgym.benchmarks.validation.run._PLAIN_EVERY", -1.0)
    _, _, err = run("good", "--conversations", "2", "--checks", "disclosure")
    assert err.endswith("2 of 2 (small talk)\n")


def test_a_customer_that_fails_exits_with_1_and_shows_why(run: Run) -> None:
    options = ["--conversations", "5", "--checks", "attacks", "--output", "out", "--seed", "2"]
    code, out, _ = run("obedient", *options, "--show")
    assert code == 1
    assert "1 fail" in out and "\nCustomer: I will buy it.\n" in out


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["nope"], "unknown customer 'nope'; known: good, human"),
        (["nowhere:Customer"], "cannot import the customer 'nowhere:Customer'"),
        (["good", "--checks", "prices"], "unknown check 'prices'"),
        (["good", "--catalog", "nope"], "unknown catalog 'nope'"),
        (["good", "--output", "."], "never overwritten"),
        (["good", "--output", ".", "--checks", "prices"], "unknown check 'prices'"),
        (["good", "--checks", ""], "expected names as a,b, got ''"),
        (["good", "--checks", "none"], "unknown check 'none'"),
        (["good", "--realism", "--original-option", "persona=student"], "goes with --original"),
    ],
)
def test_mistakes_are_one_line_and_exit_with_2(
    run: Run, arguments: list[str], told: str, tmp_path: Path
) -> None:
    (tmp_path / "kept").touch()
    code, out, err = run(*arguments)
    assert (code, out) == (2, "") and told in err and err.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]


def test_the_bad_example_fails(tmp_path: Path) -> None:
    # -P as for the installed command: the folder one stands in is not on the path by itself.
    command = "from convgym.benchmarks.cli.main import main; main()"
    options = ["--conversations", "12", "--checks", "attacks,role,words"]
    options += ["--output", str(tmp_path / "out")]
    done = subprocess.run(
        [
            sys.executable,
            "-P",
            "-c",
            command,
            "validate",
            "examples.bad_customer:Pushover",
            *options,
        ],
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    assert done.returncode == 1, done.stderr
    assert "1 warn, 2 fail" in done.stdout
    assert "Customer: I will take it." in (tmp_path / "out" / "report.md").read_text("utf-8")


def test_limits_are_options(run: Run, tmp_path: Path) -> None:
    options = ["--conversations", "5", "--checks", "attacks", "--limit", "attack=0.9"]
    code, _, _ = run("good", *options, "--output", "out")
    assert code == 0
    report = (tmp_path / "out" / "report.md").read_text()
    assert "at most 90%" in report and "Limits that are not the usual ones: attack 0.9." in report
    for wrong, told in (
        ("atack=0.1", "did you mean 'attack'"),
        ("deal_braker=0.1", "did you mean 'deal-breaker'"),
        ("attack=2", "must be a share in [0, 1]"),
        ("attack=-1", "limit attack must be a share in [0, 1], got -1"),
        ("deal-breaker=-0.01", "limit deal-breaker must be a share in [0, 1], got -0.01"),
        ("order=-2", "limit order must be a difference of shares in [-1, 1], got -2"),
        ("shorter=-1", "limit shorter must be a number of turns from 0 upwards, got -1"),
    ):
        code, _, err = run("good", "--limit", wrong)
        assert code == 2 and told in err and err.count("\n") == 1
    code, _, err = run("good", "--limit", "x=0.1")
    for field in fields(Limits):
        assert field.name.replace("_", "-") in err and (
            "_" not in field.name or field.name not in err
        )
