"""``convgym evaluate --against``: both rates and the paired difference, or one clear line."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from convgym.benchmarks.cli import main


def evaluate(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[str, str]:
    with pytest.raises(SystemExit):
        main.main(["evaluate", *arguments])
    return capsys.readouterr()


def test_both_rates_and_the_difference_are_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    evaluate(capsys, "silent", "--customers", "6", "--output", "silent.json")
    out, _ = evaluate(capsys, "competent", "--customers", "6", "--against", "silent.json")
    rate = r"conversion \d+\.\d% \[-?\d+\.\d, \d+\.\d\]"
    assert re.search(rf"^competent: {rate}, \d of 6$", out, re.MULTILINE)
    gain = r"[+-]\d+\.\d points \[[+-]\d+\.\d, [+-]\d+\.\d\]"
    over = rf"over silent \({rate}, silent\.json\), on the same 6 customers"
    assert re.search(rf"^  {gain} {over}$", out, re.MULTILINE)
    assert "{" not in out

    def held(*_: object, **__: object) -> None:
        raise AssertionError("a conversation was held")

    monkeypatch.setattr("convgym.benchmarks.runs.judged.rollout", held)
    for given, told in (
        (["--customers", "5"], "the first 6 of seed 0, and here they are the first 5 of seed 0"),
        (["--customers", "6", "--seed", "1"], "give --customers 6 --seed 0"),
        (["--customers", "6", "--catalog", "mobile"], "the policies met different customers"),
    ):
        out, err = evaluate(capsys, "competent", "--against", "silent.json", *given)
        assert out == "" and err.count("\n") == 1 and told in err and "{" not in err


def test_noise_is_heard_and_told(capsys: pytest.CaptureFixture[str]) -> None:
    out, _ = evaluate(capsys, "competent", "--customers", "4", "--noise", "0.3")
    assert "+noise-v0:0.3" in out
    _, err = evaluate(capsys, "competent", "--customers", "4", "--noise", "3")
    assert err.count("\n") == 1 and "noise" in err


def test_models_are_among_the_names_that_are_known(capsys: pytest.CaptureFixture[str]) -> None:
    _, err = evaluate(capsys, "reading-sellr")
    assert err.count("\n") == 1 and err.endswith("(did you mean 'reading-seller'?)\n")


@pytest.mark.parametrize(
    ("statement", "reason"),
    [
        ("return {}[utterance]", "KeyError"),
        ("raise RuntimeError('mine')", "RuntimeError: mine"),
        ("return open('nowhere')", "FileNotFoundError"),
        ("import nowhere_at_all", "ModuleNotFoundError"),
    ],
)
def test_what_a_customer_of_ones_own_raises_is_told_with_its_place(
    statement: str,
    reason: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "angry_customer.py").write_text(
        "class Angry:\n"
        "    fingerprint, latent = 'angry', {}\n"
        "    def reset(self, seed):\n"
        "        return 'Hello.'\n"
        "    def respond(self, utterance):\n"
        f"        {statement}\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "angry_customer", raising=False)
    with pytest.raises(SystemExit) as end:
        main.main(["evaluate", "silent", "--customers", "2", "--customer", "angry_customer:Angry"])
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert end.value.code == 1
    assert last.startswith(f"convgym: error: your own code raised {reason}")
    assert last.endswith("(angry_customer.py, line 6, in respond)")


def test_a_report_is_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ("silent", "--customers", "2", "--output", str(tmp_path / "rates.csv"))
    out, err = evaluate(capsys, *arguments)
    assert out == "" and err.count("\n") == 1 and "name it rates.json" in err
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize("content", ["{}", '{"range": 3}', '{"range": {"seed": 0}, "bought": 3}'])
def test_what_is_no_report_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str
) -> None:
    (tmp_path / "other.json").write_text(content)
    arguments = ("silent", "--customers", "2", "--against", str(tmp_path / "other.json"))
    out, err = evaluate(capsys, *arguments)
    assert out == "" and err.count("\n") == 1 and "is no report of an evaluation" in err
