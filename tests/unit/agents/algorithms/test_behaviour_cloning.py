"""Behaviour cloning from logs: our own, live or from a file, and anybody's."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from convgym.agents.algorithms.behaviour_cloning import BehaviourCloning, BehaviourCloningConfig
from convgym.agents.model.batch import tokenise
from convgym.agents.model.config import PolicyConfig
from convgym.agents.model.language_model import LanguageModel
from convgym.agents.model.policy import LanguageModelPolicy
from convgym.agents.protocol import TrainingReport
from convgym.agents.training import imitation
from convgym.agents.training.collector import Collector
from convgym.conversation import Episode, Response
from convgym.logs import read_log, write_log
from convgym.progress import Progress
from convgym.rollout import rollout
from convgym.seeds import train_seeds
from convgym.sellers import make_seller

torch.set_num_threads(1)

MakeAgent = Callable[..., BehaviourCloning]
N = 16
both = pytest.mark.parametrize("filtered", [False, True], ids=["all", "filtered"])


@pytest.fixture
def make_agent(make_model: Callable[..., LanguageModel], tmp_path: Path) -> MakeAgent:
    folder = tmp_path / "model"
    LanguageModelPolicy(make_model(layers=1)).save(folder)

    def make(filtered: bool = False, **settings: Any) -> BehaviourCloning:
        config = BehaviourCloningConfig(
            policy=PolicyConfig(model=str(folder), max_new_tokens=8),
            filter_converted=filtered,
            **{"minibatch": 4, "learning_rate": 3e-3, "epochs": 2} | settings,
        )
        return BehaviourCloning(config, "bc")

    return make


def weights(agent: BehaviourCloning) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in agent.model.weights().items()}


def equal(weights: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(weights[name], other[name]) for name in weights | other)


def trained(make_agent: MakeAgent, filtered: bool, **options: Any) -> tuple[Any, TrainingReport]:
    agent = make_agent(filtered)
    report = agent.train(Collector(N, seed=0, **options))
    return weights(agent), report


@both
def test_the_command_lines_log_teaches_what_live_conversations_do(
    make_agent: MakeAgent, tmp_path: Path, filtered: bool
) -> None:
    log = tmp_path / "log.jsonl"
    command = ["from convgym.benchmarks.cli.main import main; main()", "logs", "write", str(log)]
    subprocess.run(
        [sys.executable, "-c", *command, "--conversations", str(N), "--seed", "0"],
        check=True,
        capture_output=True,
    )
    live, live_report = trained(make_agent, filtered)
    logged, report = trained(make_agent, filtered, log=log)
    assert equal(live, logged)
    assert not equal(logged, weights(make_agent(filtered)))
    assert report.rows == live_report.rows
    assert report.usage == replace(live_report.usage, deployments=0)
    assert (report.notes, live_report.notes) == ((), ())


def foreign(episodes: list[Episode]) -> list[Episode]:
    """Return conversations as somebody else's system would have logged them."""
    return [
        replace(
            episode,
            seed=number,
            customer="crm-export:emea",
            policy="night shift",
            metadata={"channel": "web", "agent": 7},
        )
        for number, episode in enumerate(episodes)
    ]


@both
def test_a_foreign_log_teaches_the_same(
    make_agent: MakeAgent, tmp_path: Path, filtered: bool
) -> None:
    """Other names, no tokens: the words are what counts."""
    episodes = rollout(make_seller("mediocre"), train_seeds(0, N), policy_seed=0)
    write_log(tmp_path / "foreign.jsonl", foreign(episodes))
    live, live_report = trained(make_agent, filtered)
    logged, report = trained(make_agent, filtered, log=tmp_path / "foreign.jsonl")
    assert equal(live, logged)
    assert report.usage == replace(live_report.usage, deployments=0)


def test_tokens_of_another_model_in_a_log_are_not_taken_for_its_own(
    make_agent: MakeAgent, tmp_path: Path
) -> None:
    episodes = rollout(make_seller("mediocre"), train_seeds(0, N), policy_seed=0)
    for number, episode in enumerate(episodes):
        turns = [
            replace(turn, response=Response(turn.response.text, (9, 9, 9), (-1.0, -1.0, -1.0)))
            for turn in episode.turns
        ]
        episodes[number] = replace(episode, turns=tuple(turns))
    write_log(tmp_path / "other.jsonl", episodes)
    live, _ = trained(make_agent, False)
    logged, _ = trained(make_agent, False, log=tmp_path / "other.jsonl")
    assert equal(live, logged)


@both
def test_what_is_imitated(make_agent: MakeAgent, tmp_path: Path, filtered: bool) -> None:
    """Failed conversations never; with the filter, those that sold alone."""
    episodes = rollout(make_seller("mediocre"), train_seeds(0, N), policy_seed=0)
    episodes[3] = replace(episodes[3], outcome="infrastructure_failure")
    write_log(tmp_path / "log.jsonl", episodes)
    agent = make_agent(filtered)
    collector = Collector(N, seed=0, log=tmp_path / "log.jsonl")
    found = agent.collect(collector, lambda progress: None)
    kept = [e for e in episodes if (e.converted if filtered else e.valid)]
    assert 0 < len(kept) < N
    assert found == [tokenise(episode, agent.model.format) for episode in kept]
    assert collector.usage.excluded == 1


def test_nothing_to_imitate_leaves_the_start_and_says_so(
    make_agent: MakeAgent, tmp_path: Path
) -> None:
    episodes = [
        replace(episode, outcome="walk_away")
        for episode in rollout(make_seller("mediocre"), train_seeds(0, 5))
    ]
    write_log(tmp_path / "log.jsonl", episodes)
    agent, news = make_agent(filtered=True), list[Progress]()
    start = weights(agent)
    collector = Collector(N, seed=0, log=tmp_path / "log.jsonl")
    with collector.supervised("filtered-bc"):
        report = agent.train(collector, folder=tmp_path / "run", progress=news.append)
    assert equal(weights(agent), start)
    [note] = report.notes
    assert note.startswith("none of 5 logged conversations is worth imitating")
    assert report.rows == ()
    assert (report.usage.conversations, report.usage.deployments) == (5, 0)
    # Again, from the same folder: the same.
    again = make_agent(filtered=True)
    resumed = again.train(Collector(N, seed=0, log=tmp_path / "log.jsonl"), folder=tmp_path / "run")
    assert (resumed.notes, resumed.usage) == (report.notes, report.usage)


@pytest.mark.parametrize("kept_within_passes", [False, True])
@pytest.mark.parametrize("linear_decay", [False, True])
def test_an_interrupted_run_on_a_log_ends_as_an_uninterrupted_one(
    make_agent: MakeAgent,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    kept_within_passes: bool,
    linear_decay: bool,
) -> None:
    """Of 12 steps in three passes, it is interrupted in the 7th, and goes on with 5 or with 7."""
    if kept_within_passes:
        monkeypatch.setattr(imitation, "KEEP_SECONDS", 0.0)
    steps: list[int] = []
    log = tmp_path / "log.jsonl"
    write_log(log, foreign(rollout(make_seller("mediocre"), train_seeds(0, N))))

    def run(folder: Path, stop_at: int = 10**9) -> tuple[dict[str, torch.Tensor], TrainingReport]:
        def report(progress: Progress) -> None:
            if progress.stage == "imitate":
                steps.append(progress.done)
                if progress.done == stop_at:
                    raise KeyboardInterrupt

        agent = make_agent(epochs=3, linear_decay=linear_decay)
        collector = Collector(N, seed=0, log=log)
        trained = agent.train(collector, folder=folder, progress=report)
        return weights(agent), trained

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "stopped", stop_at=7)
    steps.clear()
    resumed, again = run(tmp_path / "stopped")
    assert steps[0] == (7 if kept_within_passes else 5)
    whole, report = run(tmp_path / "whole")
    assert equal(resumed, whole)
    assert (again.usage, again.rows) == (report.usage, report.rows)
    assert len(read_log(log).episodes) == report.usage.conversations
