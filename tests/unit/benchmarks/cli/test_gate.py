"""``convgym gate``: what is said of an interval that leaves everything open."""

from __future__ import annotations

import math
from typing import Any

import pytest

from convgym.agents.pipeline import gating
from convgym.benchmarks.cli import main

REPORT = {
    "verdict": "passed",
    "reasons": [],
    "conversations": 25,
    "sales": 5,
    "kl": 0.4,
    "gain": 0.1,
    "standard_error": 0.1,
}


def judged(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], **report: Any
) -> str:
    monkeypatch.setattr(gating, "judge_policy", lambda *_, **__: {**REPORT, **report})
    with pytest.raises(SystemExit):
        main.main("gate new --policy old --q q --log log.jsonl".split())
    return capsys.readouterr().out


@pytest.mark.parametrize("verdict", ["passed", "turned down", "cannot judge"])
def test_an_interval_that_holds_0_comes_with_a_caution(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], verdict: str
) -> None:
    shown = judged(monkeypatch, capsys, verdict=verdict, low=-0.1, high=0.3)
    assert "caution: the interval is 40 points wide and holds 0" in shown
    assert "do not show whether" in shown


def test_an_interval_beyond_0_needs_none(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "caution" not in judged(monkeypatch, capsys, low=0.01, high=0.19)


def test_an_error_that_nobody_knows_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    unknown = {"low": -math.inf, "high": math.inf, "standard_error": math.inf}
    assert "is not known" in judged(monkeypatch, capsys, **unknown)
