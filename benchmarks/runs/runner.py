"""Run a suite: evaluate the sellers, train the agents at an equal budget, evaluate them."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from convgym.benchmarks.runs.folder import ResultsFolder
from convgym.benchmarks.runs.manifest import make_manifest
from convgym.benchmarks.runs.result import Result, evaluate
from convgym.benchmarks.runs.suites import START, Job, Suite, jobs
from convgym.conversation import Episode
from convgym.errors import ConvgymError
from convgym.policy import Policy
from convgym.seeds import evaluation_seeds
from convgym.sellers import make_seller

if TYPE_CHECKING:
    from convgym.agents.protocol import Agent, TrainingReport
    from convgym.progress import Progress


@dataclass(frozen=True)
class Update:
    """News of a run: the job at hand, its stage, and how far that is.

    ``result`` comes with the last update of a job; ``remaining`` are the jobs that this run has
    still to do, the one at hand first.
    """

    job: Job
    remaining: tuple[Job, ...]
    stage: str
    done: int = 0
    total: int = 0
    metrics: Mapping[str, float] = field(default_factory=dict)
    result: Result | None = None


class Rollout(Protocol):
    """Hold conversations: ``convgym.rollout.rollout``, or a stand-in."""

    def __call__(
        self,
        policy: Policy,
        seeds: Sequence[int],
        *,
        policy_seed: int,
        environment: Mapping[str, Any],
        progress: Callable[[int], None] | None,
    ) -> list[Episode]: ...


@dataclass(frozen=True)
class Parts:
    """Where policies and conversations come from; a run can be given others."""

    make_seller: Callable[[str, Mapping[str, Any]], Policy]  # name, environment
    make_start: Callable[[], Policy]
    make_agent: Callable[[str, Mapping[str, Any]], Agent]  # name, config overrides
    rollout: Rollout


def run_suite(
    suite: Suite,
    output: Path,
    *,
    seed: int = 0,
    progress: Callable[[Update], None] | None = None,
    parts: Parts | None = None,
) -> list[Result]:
    """Run ``suite`` into the folder ``output``, or finish the unfinished run there.

    Everybody meets the same evaluation customers, whom no training run meets. Rows that are done
    are kept; an agent interrupted in training goes on from its own checkpoints.

    Returns the rows in the suite's order. Raises ConvgymError for names that are not known, for a
    folder that cannot take this run (see ``ResultsFolder``) and for an agent that reports more
    conversations than its budget.
    """
    parts = parts or default_parts()
    todo = jobs(suite, seed)
    # Everything is made once before the first conversation: a misspelt name fails at once.
    for name in suite.sellers:
        parts.make_seller(name, suite.evaluation_environment)
    agents = {name: parts.make_agent(name, suite.overrides.get(name, {})) for name in suite.agents}
    configs = {name: asdict(agent.config) for name, agent in agents.items()}

    with ResultsFolder(output, make_manifest(suite, seed, configs)) as folder:
        done = {result.job: result for result in folder.results()}
        remaining = [job for job in todo if job not in done]
        for position, job in enumerate(remaining):
            task = _Task(suite, seed, parts, folder, tuple(remaining[position:]), progress)
            done[job] = _train_and_evaluate(task) if job.kind == "agent" else _evaluate(task)
        folder.finish()
    return [done[job] for job in todo]


def default_parts() -> Parts:
    """Return the package's own sellers, agents and rollout; loads torch only for an agent."""
    from convgym.rollout import rollout

    return Parts(_make_seller, _make_start, _make_agent, rollout)


def _make_seller(name: str, environment: Mapping[str, Any]) -> Policy:
    return make_seller(
        name, **{key: environment[key] for key in ("catalog",) if key in environment}
    )


def _make_start() -> Policy:
    from convgym.agents.algorithms.behaviour_cloning import BehaviourCloning, BehaviourCloningConfig

    # Any agent before its training: they share the model and the way of sampling from it.
    return BehaviourCloning(BehaviourCloningConfig(), name=START)


def _make_agent(name: str, overrides: Mapping[str, Any]) -> Agent:
    from convgym.agents import make_agent

    return make_agent(name, **overrides)


@dataclass(frozen=True)
class _Task:
    """The job at hand, ``remaining[0]``, and what it needs."""

    suite: Suite
    seed: int
    parts: Parts
    folder: ResultsFolder
    remaining: tuple[Job, ...]
    progress: Callable[[Update], None] | None

    @property
    def job(self) -> Job:
        return self.remaining[0]

    def tell(self, stage: str, done: int = 0, total: int = 0, **more: Any) -> None:
        if self.progress:
            self.progress(Update(self.job, self.remaining, stage, done, total, **more))


def _evaluate(task: _Task) -> Result:
    job, environment = task.job, dict(task.suite.evaluation_environment)
    if job.kind == "start":
        policy = task.parts.make_start()
    else:
        policy = task.parts.make_seller(job.name, environment)
        if job.name == "oracle":
            environment["reveal_latent"] = True
    episodes, seconds = _hold(task, policy, environment)
    result = Result(job, **evaluate(episodes)._asdict(), evaluation_seconds=seconds)
    task.folder.add(result, samples=episodes)
    task.tell("done", result=result)
    return result


def _train_and_evaluate(task: _Task) -> Result:
    job, suite = task.job, task.suite
    agent = task.parts.make_agent(job.name, suite.overrides.get(job.name, {}))

    def report(news: Progress) -> None:
        stage = "train" if news.stage == "train" else f"train: {news.stage}"
        task.tell(stage, news.done, news.total, metrics=news.metrics)

    task.tell("train", 0, suite.conversations)
    training = agent.train(
        conversations=suite.conversations,
        seed=job.seed,
        environment=dict(suite.environment),
        folder=task.folder.agent_folder(job),
        report=report,
    )
    _check_budget(job, training, suite.conversations)
    agent.save(task.folder.agent_folder(job) / "policy")
    episodes, seconds = _hold(task, agent, suite.evaluation_environment)
    result = Result(
        job,
        **evaluate(episodes)._asdict(),
        conversations=training.conversations,
        deployments=training.deployments,
        train_seconds=training.seconds,
        evaluation_seconds=seconds,
        training_excluded=training.excluded,
    )
    curve = [asdict(point) for point in training.curve]
    task.folder.add(result, curve=curve, training=training.rows, samples=episodes)
    task.tell("done", result=result)
    return result


def _hold(
    task: _Task, policy: Policy, environment: Mapping[str, Any]
) -> tuple[list[Episode], float]:
    """Hold the evaluation conversations, the same for every job; also return the seconds."""
    seeds = evaluation_seeds(task.seed, task.suite.evaluation_episodes)
    task.tell("evaluate", 0, len(seeds))
    started = time.perf_counter()
    episodes = task.parts.rollout(
        policy,
        seeds,
        policy_seed=task.job.seed,
        environment=environment,
        progress=lambda done: task.tell("evaluate", done, len(seeds)),
    )
    return episodes, time.perf_counter() - started


def _check_budget(job: Job, training: TrainingReport, budget: int) -> None:
    if training.conversations > budget:
        raise ConvgymError(
            f"agent {job.name!r} held {training.conversations} conversations, its budget is"
            f" {budget}: the comparison would not be fair"
        )
