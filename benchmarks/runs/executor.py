"""One job, from its task to its outcome: wherever it runs, nothing else is needed.

A task and an outcome are plain data that can be pickled, so a job can run in this process, in
another one or on another machine that shares the folder of checkpoints. What is stored, in which
order and what is resumed is the runner's business.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from convgym.agents.protocol import TrainingReport, placement
from convgym.benchmarks.runs.parts import Parts
from convgym.benchmarks.runs.reports import checked
from convgym.benchmarks.runs.result import Result, evaluate
from convgym.benchmarks.runs.starts import Start
from convgym.benchmarks.runs.suites import Job, Suite
from convgym.conversation import Episode
from convgym.policy import Policy
from convgym.progress import Progress, ProgressCallback, no_progress
from convgym.seeds import evaluation_seeds

if TYPE_CHECKING:
    from convgym.agents.protocol import Agent
    from convgym.agents.training.collector import Collector

SAMPLES = 8
"""Evaluation conversations kept of each row: the first ones, the same customers for everybody."""


@runtime_checkable
class Voiced(Protocol):
    """A policy that can speak at another temperature."""

    def voice(self, system_message: str | None, temperature_factor: float) -> Policy:
        """Return a policy with the same weights."""


@dataclass(frozen=True)
class Task:
    """A job and all that it needs.

    ``seed`` is the run's, from which the evaluation customers follow. ``start`` is the policy to
    evaluate (of a start), or what the agent is compared with; None for sellers. ``folder`` is
    where an agent keeps its checkpoints and its policy.
    """

    suite: Suite
    job: Job
    seed: int
    parts: Parts
    folder: Path
    start: Start | None = None


@dataclass(frozen=True)
class Outcome:
    """What a job found: its row, its learning curve and metrics, its first conversations."""

    result: Result
    curve: tuple[Mapping[str, Any], ...] = ()
    training: tuple[Mapping[str, Any], ...] = ()
    samples: tuple[Episode, ...] = ()


def execute(task: Task, progress: ProgressCallback = no_progress) -> Outcome:
    """Do a job; an agent that was interrupted in training goes on from its checkpoints.

    Raises ConvgymError for an agent that meets more customers than its budget, or returns no right
    report of its training.
    """
    if task.job.kind == "agent":
        return _train_and_evaluate(task, progress)
    environment = dict(task.suite.evaluation_environment)
    if task.job.kind == "start":
        policy = starting_policy(task)
    else:
        options = task.suite.overrides.get(task.job.name, {})
        policy = task.parts.make_seller(task.job.name, environment, **options)
        if task.job.name == "oracle":
            environment["reveal_latent"] = True
    episodes, seconds = _judge(task, policy, environment, progress)
    result = Result(
        task.job,
        **evaluate(episodes)._asdict(),
        evaluation_seconds=seconds,
        colder=_colder(task, policy, progress),
        **placement(policy),
    )
    return Outcome(result, samples=tuple(episodes[:SAMPLES]))


def starting_policy(task: Task) -> Policy:
    """Return the policy of a start: one of the agents that begin so, before any training."""
    assert task.start is not None
    return make_agent(task, task.start.agent)


def make_agent(task: Task, name: str) -> Agent:
    """Return an untrained agent of the suite."""
    return task.parts.make_agent(name, task.suite.overrides.get(name, {}))


def train(agent: Agent, task: Task, progress: ProgressCallback) -> TrainingReport:
    """Let an agent learn at the suite's budget, in the suite's environment.

    What it used of customers and of processors is what the collector has counted, whatever the
    agent reports.
    """
    from convgym.agents.training.collector import Collector

    collector = Collector(
        task.suite.conversations,
        seed=task.job.seed,
        environment=task.suite.environment,
        log=task.suite.log,
    )
    return train_with(collector, agent, task.job.name, task.folder, progress)


def train_with(
    collector: Collector, agent: Agent, name: str, folder: Path, progress: ProgressCallback
) -> TrainingReport:
    """Let an agent learn from a collector's customers, and see to it that it met no others."""
    with collector.supervised(name):
        report = agent.train(collector, folder=folder, progress=progress)
    report = checked(report, f"agent {name!r}")
    return replace(report, usage=collector.usage, cpu_seconds=collector.cpu_seconds)


def _train_and_evaluate(task: Task, progress: ProgressCallback) -> Outcome:
    agent = make_agent(task, task.job.name)

    def told(news: Progress) -> None:
        stage = "train" if news.stage == "train" else f"train: {news.stage}"
        progress(replace(news, stage=stage))

    progress(Progress("train", 0, task.suite.conversations))
    training = train(agent, task, told)
    agent.save(task.folder / "policy")
    episodes, seconds = _judge(task, agent, task.suite.evaluation_environment, progress)
    result = Result(
        task.job,
        **evaluate(episodes)._asdict(),
        conversations=training.usage.conversations,
        deployments=training.usage.deployments,
        train_seconds=training.seconds,
        evaluation_seconds=seconds,
        training_excluded=training.usage.excluded,
        start=task.start.name if task.start else None,
        training_turns=training.usage.turns,
        branches=training.usage.branches,
        notes=training.notes,
        cpu_seconds=training.cpu_seconds,
        colder=_colder(task, agent, progress),
        **placement(agent),
    )
    return Outcome(
        result,
        curve=tuple(asdict(point) for point in training.curve),
        training=tuple(dict(row) for row in training.rows),
        samples=tuple(episodes[:SAMPLES]),
    )


def _colder(task: Task, policy: Policy, progress: ProgressCallback) -> str | None:
    """Return the outcomes at the suite's lower temperature; None of what has no temperature."""
    speaker = getattr(policy, "policy", policy)  # an agent's, or a policy by itself
    if task.suite.colder is None or task.job.kind == "seller" or not isinstance(speaker, Voiced):
        return None
    colder = speaker.voice(None, task.suite.colder)
    episodes, _ = _judge(task, colder, task.suite.evaluation_environment, progress)
    return evaluate(episodes).outcomes


def _judge(
    task: Task, policy: Policy, environment: Mapping[str, Any], progress: ProgressCallback
) -> tuple[list[Episode], float]:
    """Hold the evaluation conversations, the same for every job; also return the seconds."""
    seeds = evaluation_seeds(task.seed, task.suite.evaluation_episodes)
    progress(Progress("evaluate", 0, len(seeds)))
    started = time.perf_counter()
    episodes = task.parts.rollout(
        policy,
        seeds,
        policy_seed=task.job.seed,
        environment=environment,
        progress=lambda news: progress(replace(news, stage="evaluate")),
    )
    seconds = time.perf_counter() - started
    if task.job.kind != "seller":  # starts and variants are known by their own names
        episodes = [replace(episode, policy=task.job.name) for episode in episodes]
    return episodes, seconds
