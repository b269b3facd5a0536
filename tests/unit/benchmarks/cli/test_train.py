"""``convgym train``: whose rates are shown, where it computes, and what to do next."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from convgym.agents.protocol import TrainingReport
from convgym.agents.training.collector import Collector
from convgym.benchmarks.cli import main
from convgym.benchmarks.runs import single
from convgym.logs import write_log
from convgym.rollout import rollout
from convgym.sellers import make_seller
from tests.unit.benchmarks.conftest import StubAgent, StubConfig

Train = Callable[..., str]


class Learner(StubAgent):
    """Learns from a log, or from conversations of its own, and from neither anything."""

    def train(self, collector: Collector, **_: Any) -> TrainingReport:
        if self.name == "bc":
            collector.logged(make_seller("silent"))
        else:
            collector.deploy(make_seller("silent"), collector.budget)
        curve = tuple(collector.curve)
        return TrainingReport(collector.usage, 1.0, curve, rows=(), notes=collector.notes)


@pytest.fixture
def train(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Train:
    """Train a stand-in in an empty folder, and return what is printed."""
    monkeypatch.chdir(tmp_path)

    def make(name: str, policy: Any = None, **settings: Any) -> Learner:
        return Learner(name, StubConfig(**settings))

    monkeypatch.setattr(single, "make_agent", make)

    def call(*arguments: str) -> str:
        with pytest.raises(SystemExit) as end:
            main.main(["train", *arguments])
        assert not end.value.code
        return capsys.readouterr().out

    return call


def test_what_was_trained_is_to_be_judged_where_it_was_trained(train: Train) -> None:
    there = ("--catalog", "mobile", "--personas", "difficult")
    shown = train("online-ppo", "--output", "out", "--conversations", "4", *there)
    assert shown.endswith(f"convgym evaluate out/policy {' '.join(there)}\n")


def test_the_rate_of_a_log_is_said_to_be_the_logs(train: Train) -> None:
    write_log("log.jsonl", rollout(make_seller("competent"), range(8)))
    arguments = ("bc", "--log", "log.jsonl", "--output", "out", "--conversations")
    shown = train(*arguments, "8")
    assert "in the log" in shown and "its seller's rate, not this policy's" in shown
    assert shown.endswith("how well it sells: convgym evaluate out/policy\n")
    assert "conversion" not in shown and "note" not in shown
    assert train(*arguments, "8") == shown  # a finished one is shown alike
    report = json.loads(Path("out/report.json").read_text())
    del report["has_log"]  # as reports of earlier versions are
    Path("out/report.json").write_text(json.dumps(report))
    assert train(*arguments, "8") == shown


def test_a_log_that_the_budget_cuts_is_told(train: Train) -> None:
    write_log("log.jsonl", rollout(make_seller("competent"), range(8)))
    shown = train("bc", "--log", "log.jsonl", "--output", "out", "--conversations", "5")
    note = "of the 8 conversations in the log log.jsonl, only the first 5 are learned from"
    assert f"note: {note}\n" in shown


def test_a_log_that_was_written_for_it_is_a_log_as_well(train: Train) -> None:
    shown = train("bc", "--output", "out", "--conversations", "3")
    assert "of 3 conversations in the log 0.0% sold: that is its seller's rate" in shown


def test_rates_of_conversations_of_its_own_are_its_own(train: Train) -> None:
    shown = train("online-ppo", "--output", "out", "--conversations", "3")
    assert "after      0: conversion 0.0% of 3" in shown and "seller's rate" not in shown


@pytest.mark.parametrize("more", [[], ["--policy", "mine"]])
def test_where_it_computes_reaches_the_agent(
    train: Train, monkeypatch: pytest.MonkeyPatch, more: list[str]
) -> None:
    given: dict[str, Any] = {}

    def make(name: str, **settings: Any) -> Learner:
        given.update(settings)
        return Learner(name)

    monkeypatch.setattr(single, "make_agent", make)
    train("bc", "--output", "out", "--conversations", "3", "--device", "cpu", *more)
    assert given["policy"] == {"device": "cpu", **({"model": "mine"} if more else {})}
