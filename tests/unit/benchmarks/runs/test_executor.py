"""Jobs: plain data in, plain data out, the same in another process."""

from __future__ import annotations

import multiprocessing
import pickle
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from convgym.benchmarks.runs.executor import SAMPLES, Outcome, Task, execute
from convgym.benchmarks.runs.parts import PackageParts
from convgym.benchmarks.runs.result import Result
from convgym.benchmarks.runs.runner import run_suite
from convgym.benchmarks.runs.starts import Start
from convgym.benchmarks.runs.suites import START, Job, Suite, get_suite
from convgym.benchmarks.runs.workers import InTurn
from convgym.errors import ConvgymError
from convgym.progress import Progress, ProgressCallback
from tests.unit.benchmarks.conftest import World


def timeless(outcome: Outcome) -> Outcome:
    result = replace(outcome.result, evaluation_seconds=0.0, train_seconds=0.0, cpu_seconds=None)
    curve = tuple({**point, "seconds": 0.0} for point in outcome.curve)
    return replace(outcome, result=result, curve=curve)


def tasks(suite: Suite, folder: Path) -> list[Task]:
    start = Start(START, "bc")
    parts = World()
    return [
        Task(suite, Job("seller", "competent", 3), 3, parts, folder / "a"),
        Task(suite, Job("start", START, 3), 3, parts, folder / "b", start),
        Task(suite, Job("agent", "bc", 3), 3, parts, folder / "c", start),
    ]


def test_tasks_and_outcomes_are_plain_data(tmp_path: Path, suite: Suite) -> None:
    for task in tasks(suite, tmp_path):
        assert pickle.loads(pickle.dumps(task)) == task
        outcome = execute(task)
        assert pickle.loads(pickle.dumps(outcome)) == outcome
        assert outcome.result.job == task.job and len(outcome.samples) == SAMPLES
        assert len(outcome.result.outcomes) == suite.evaluation_episodes
        assert all(episode.policy == task.job.name for episode in outcome.samples)


@pytest.mark.slow
def test_a_job_ends_the_same_in_another_process(
    tmp_path: Path, suite: Suite, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(Path(__file__).parents[4])  # where the stand-ins are imported from
    scripted = replace(get_suite("smoke"), evaluation_episodes=20)
    real = Task(scripted, Job("seller", "competent", 0), 0, PackageParts(), tmp_path / "real")
    here = [execute(task) for task in [*tasks(suite, tmp_path / "here"), real]]
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        there = list(pool.map(execute, [*tasks(suite, tmp_path / "there"), real]))
    assert list(map(timeless, there)) == list(map(timeless, here))


def test_another_executor_needs_no_change_of_the_runner(
    tmp_path: Path, suite: Suite, world: World
) -> None:
    """Like one on another machine: nothing goes there and back but bytes."""

    def elsewhere(task: Task, progress: ProgressCallback) -> Outcome:
        progress(Progress("waiting", 0, 1))
        sent = pickle.dumps(execute(pickle.loads(pickle.dumps(task))))
        outcome: Outcome = pickle.loads(sent)
        return outcome

    def rows(results: list[Result]) -> list[Result]:
        return [replace(result, evaluation_seconds=0.0, cpu_seconds=None) for result in results]

    there = run_suite(suite, tmp_path / "there", parts=world, workers=InTurn(elsewhere))
    assert rows(there) == rows(run_suite(suite, tmp_path / "here", parts=world))


class Silent(World):
    """Makes agents that tell nothing of their training."""

    def make_agent(self, name: str, overrides: Mapping[str, Any]) -> Any:
        agent = super().make_agent(name, overrides)
        object.__setattr__(agent, "train", lambda *args, **options: None)
        return agent


def test_an_agent_that_reports_nothing_is_told(tmp_path: Path, suite: Suite) -> None:
    start = Start(START, "bc")
    task = Task(suite, Job("agent", "bc", 3), 3, Silent(), tmp_path, start)
    with pytest.raises(ConvgymError, match="agent 'bc' must return a TrainingReport from train, g"):
        execute(task)


class Thermal:
    """An agent whose policy sells at lower temperatures alone."""

    def __init__(self, factor: float = 1.0) -> None:
        self.policy = self
        self.factor = factor
        self.name = "bc"

    def voice(self, system_message: str | None, temperature_factor: float) -> Thermal:
        assert system_message is None
        return Thermal(self.factor * temperature_factor)

    def reset(self, seed: int) -> None:
        pass

    def act(self, conversations: Any) -> Any:
        raise AssertionError("the stand-in for rollout asks nobody")


class Climate(World):
    """Sells to everybody who meets a cold policy."""

    def make_agent(self, name: str, overrides: Mapping[str, Any]) -> Any:
        return Thermal()

    def rollout(self, policy: Any, seeds: Any, **options: Any) -> Any:
        episodes = super().rollout(policy, seeds, **options)
        if policy.factor < 1:
            return [replace(episode, outcome="purchase") for episode in episodes]
        return [replace(episode, outcome="walk_away") for episode in episodes]


def test_language_models_are_judged_at_a_lower_temperature_too(
    tmp_path: Path, suite: Suite
) -> None:
    n = suite.evaluation_episodes
    for colder, expected in ((None, None), (0.25, "p" * n)):
        asked = replace(suite, colder=colder)
        job = Job("start", START, 3)
        task = Task(asked, job, 3, Climate(), tmp_path, Start(START, "bc"))
        result = execute(task).result
        assert (result.outcomes, result.colder) == ("w" * n, expected)
        assert Result.from_row(result.to_row()) == result
    seller = Task(asked, Job("seller", "competent", 3), 3, World(), tmp_path)
    assert execute(seller).result.colder is None
