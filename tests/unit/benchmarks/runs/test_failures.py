"""A customer whose backend fails now and then, through the whole of ``convgym bench``."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from convgym.benchmarks.cli import main
from convgym.customers import CUSTOMERS, Reply, register_customer
from convgym.customers.scripted.customer import ScriptedCustomer
from convgym.errors import InfrastructureError
from convgym.logs import validate_log
from convgym.registry import Registry
from convgym.rollout import rollout
from convgym.seeds import evaluation_seeds
from convgym.sellers import make_seller

SEEDS = evaluation_seeds(0, 32)
"""What ``convgym bench smoke`` judges on."""


class Flaky(ScriptedCustomer):
    """Fails in one of these conversations, at its opening or in the midst of it."""

    def reset(self, seed: int, profile: Mapping[str, Any] | None = None) -> str:
        self.fails, self.turn = self.failing(seed), 0
        if self.fails and seed % 8 < 4:
            raise InfrastructureError("no connection")
        return super().reset(seed, profile)

    def failing(self, seed: int) -> bool:
        return seed == SEEDS[5]

    def respond(self, utterance: str) -> Reply:
        self.turn += 1
        if self.fails and self.turn == 2:
            raise InfrastructureError("connection lost")
        return super().respond(utterance)


class Broken(Flaky):
    """Fails in every fourth conversation or so."""

    def failing(self, seed: int) -> bool:
        return seed % 4 == 3


@pytest.fixture(autouse=True)
def customers(restored: Callable[[Registry[Any]], None]) -> None:
    restored(CUSTOMERS)
    register_customer("flaky", Flaky)
    register_customer("broken", Broken)


def bench(folder: Path, customer: str) -> tuple[dict[str, dict[str, Any]], list[str]]:
    """Run the smoke suite's sellers; return the rows by name and the names of the logs."""
    arguments = f"bench smoke --agents none --customer {customer} --output".split()
    with pytest.raises(SystemExit) as end:
        main.main([*arguments, str(folder)])
    assert bool(end.value.code) == (customer == "broken")  # no row is valid then
    rows = [json.loads(line) for line in (folder / "results.jsonl").read_text().splitlines()]
    return {row["name"]: row for row in rows}, [row["name"] for row in rows]


def test_a_few_failures_are_left_out_counted_and_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows, names = bench(tmp_path, "flaky")
    assert names == ["silent", "competent"]
    sold = [
        episode.converted
        for episode in rollout(make_seller("competent"), SEEDS)
        if episode.seed != SEEDS[5]
    ]
    competent = rows["competent"]
    assert (competent["excluded"], competent["episodes"], competent["valid"]) == (1, 31, True)
    assert competent["outcomes"].index("x") == 5
    assert (competent["conversions"], competent["episodes"]) == (sum(sold), len(sold))
    out = capsys.readouterr().out
    assert "failed" in out and "2 conversations failed: the customer broke off" in out
    assert "invalid" not in out
    assert "failed: the customer broke off" in (tmp_path / "report.html").read_text()


def test_many_failures_make_a_run_invalid(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows, _ = bench(tmp_path, "broken")
    lost = [seed % 4 == 3 for seed in SEEDS]
    assert sum(lost) > 2 and lost[:8].count(True)
    for row in rows.values():
        assert [letter == "x" for letter in row["outcomes"]] == lost and not row["valid"]
    out = capsys.readouterr().out
    assert out.count(" invalid ") == 3  # two rows and the note
    assert "evaluation failed are invalid and left out: silent, competent." in out
    log = validate_log(tmp_path / "conversations" / "competent.jsonl")
    assert log.outcomes["infrastructure_failure"] == sum(lost[:8]) and not log.problems


@pytest.mark.slow
def test_an_agent_that_lost_conversations_in_training_is_invalid(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("torch")
    suite, out = tmp_path / "few.toml", tmp_path / "out"
    suite.write_text(
        "conversations = 16\nevaluation_episodes = 8\n[agents.online-ppo]\ndeployment = 8\n"
    )
    with pytest.raises(SystemExit) as end:
        main.main(["bench", str(suite), "--customer", "broken", "--output", str(out)])
    assert end.value.code == 1  # no row is valid
    _, row = [json.loads(line) for line in (out / "results.jsonl").read_text().splitlines()]
    assert row["conversations"] == 16 and 0 < row["training_excluded"] < 16
    assert not row["valid"] and "invalid" in capsys.readouterr().out
