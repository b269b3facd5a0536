"""The smoke suite with the real agents, uninterrupted and interrupted in training."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from convgym.benchmarks.runs.result import Result
from convgym.benchmarks.runs.runner import Update, run_suite
from convgym.benchmarks.runs.suites import get_suite, select

pytest.importorskip("torch")


def timeless(results: list[Result]) -> list[Result]:
    return [
        replace(result, train_seconds=0.0, evaluation_seconds=0.0, cpu_seconds=None)
        for result in results
    ]


@pytest.mark.slow
def test_an_interruption_in_training_changes_nothing(tmp_path: Path) -> None:
    suite = replace(
        select(get_suite("smoke"), sellers=["competent"], agents=["online-ppo"]),
        conversations=12,
        evaluation_episodes=8,
        overrides={"online-ppo": {"deployment": 4}},
    )
    whole = run_suite(suite, tmp_path / "whole")

    def interrupt(update: Update) -> None:
        if update.job.name == "online-ppo" and update.stage == "train" and update.done == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_suite(suite, tmp_path / "parted", progress=interrupt)
    seen: list[Update] = []
    parted = run_suite(suite, tmp_path / "parted", progress=seen.append)
    assert timeless(parted) == timeless(whole)
    assert [update.done for update in seen if update.metrics] == [8, 12]


@pytest.mark.slow
def test_every_agent_keeps_its_budget(tmp_path: Path) -> None:
    suite = get_suite("smoke")
    results = run_suite(suite, tmp_path)
    agents = [result for result in results if result.job.kind == "agent"]
    assert [result.job.name for result in agents] == list(suite.agents)
    assert all(0 < result.conversations <= suite.conversations for result in agents)
    assert all(result.deployments >= 1 and result.episodes == 32 for result in agents)
