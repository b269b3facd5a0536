"""Run a suite: order its jobs, leave out those that are done, store what they find."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from convgym.agents.training.collector import read_training_log
from convgym.benchmarks.runs.executor import Task
from convgym.benchmarks.runs.folder import ResultsFolder
from convgym.benchmarks.runs.identity import content
from convgym.benchmarks.runs.manifest import make_manifest
from convgym.benchmarks.runs.parts import Parts, default_parts
from convgym.benchmarks.runs.policies import keep_policy
from convgym.benchmarks.runs.redaction import settings_of
from convgym.benchmarks.runs.result import Result
from convgym.benchmarks.runs.starts import Start, starts_of
from convgym.benchmarks.runs.suites import Job, Suite, jobs
from convgym.benchmarks.runs.workers import InTurn, Workers
from convgym.errors import ConvgymError, whose
from convgym.progress import Progress
from convgym.shop.catalog import refuse_held_out


@dataclass(frozen=True, slots=True, kw_only=True)
class Update(Progress):
    """News of a run: the job at hand, and how far its present stage is.

    ``jobs`` are all of the run, ``remaining`` those that are not over yet, the one at hand first.
    ``result`` comes with the last update of a job.
    """

    job: Job
    jobs: tuple[Job, ...]
    remaining: tuple[Job, ...]
    result: Result | None = None


def run_suite(
    suite: Suite,
    output: Path,
    *,
    seed: int = 0,
    progress: Callable[[Update], None] | None = None,
    parts: Parts | None = None,
    workers: Workers | None = None,
) -> list[Result]:
    """Run ``suite`` into the folder ``output``, or finish the unfinished run there.

    Everybody meets the same evaluation customers, whom no training run meets. Rows that are done
    are kept; an agent interrupted in training goes on from its own checkpoints.

    Of a run that is finished and whole nothing is done again. Jobs are done in this process, one
    after the other, unless there are ``workers``; rows and files are the same, in the same order.

    Returns the rows in the suite's order. Raises ConvgymError for names that are not known, nobody
    to compare, a catalogue or a log that agents must not train on, a log that cannot be read, a
    folder that cannot take this run (see ``ResultsFolder``) and an agent that reports more
    conversations than its budget.
    """
    parts = parts or default_parts()
    planned = _plan(suite, seed, parts)
    todo = planned.jobs
    with ResultsFolder(output, planned.manifest) as folder:
        done = {result.job: result for result in folder.results()}
        remaining = tuple(job for job in todo if job not in done)
        tasks = [
            Task(suite, job, seed, parts, folder.agent_folder(job), planned.start(job))
            for job in remaining
        ]
        teller = _Teller(todo, remaining, progress)
        with closing((workers or InTurn()).outcomes(tasks, teller.tell)) as outcomes:
            for outcome in outcomes:
                folder.add(
                    outcome.result,
                    curve=outcome.curve,
                    training=outcome.training,
                    samples=outcome.samples,
                )
                done[outcome.result.job] = outcome.result
                teller.finish(outcome.result)
        if not folder.complete:
            _keep(suite, todo, folder)
            folder.finish()
    return [done[job] for job in todo]


def check_suite(suite: Suite, seed: int = 0) -> None:
    """Raise what ``run_suite`` would before it runs anything: everybody is made once."""
    _plan(suite, seed, default_parts())


@dataclass(frozen=True, slots=True)
class _Plan:
    """What a run does, known before it does anything."""

    jobs: tuple[Job, ...]
    starts: Mapping[str, Start]
    """What each agent starts from."""
    manifest: dict[str, Any]

    def start(self, job: Job) -> Start | None:
        """Return what a job evaluates or is compared with."""
        if job.kind == "start":
            return next(start for start in self.starts.values() if start.name == job.name)
        return self.starts[job.name] if job.kind == "agent" else None


def _plan(suite: Suite, seed: int, parts: Parts) -> _Plan:
    _check(suite)
    configs = _configs(suite, parts)
    starts = starts_of(configs)
    names = {agent: start.name for agent, start in starts.items()}
    todo = tuple(jobs(suite, seed, starts=list(dict.fromkeys(names.values()))))
    _check_labels(todo)
    manifest = make_manifest(suite, seed, configs, content(suite, configs), names)
    return _Plan(todo, starts, manifest)


def _check(suite: Suite) -> None:
    """Raise ConvgymError for what can be known to be wrong before anything is made."""
    if not suite.sellers and not suite.agents:
        raise ConvgymError("there is nobody to compare: name a seller or an agent")
    if suite.agents:
        refuse_held_out(suite.environment)
        if suite.log is not None:
            read_training_log(suite.log, suite.conversations)


def _check_labels(todo: Sequence[Job]) -> None:
    """Raise ConvgymError if two jobs would write the same files."""
    jobs_by_label: dict[str, Job] = {}
    for job in todo:
        other = jobs_by_label.setdefault(job.label, job)
        if other != job:
            raise ConvgymError(
                f"{other.kind} {other.name!r} and {job.kind} {job.name!r} would both be kept as"
                f" {job.label!r}: compare them in two runs"
            )


def _keep(suite: Suite, todo: Sequence[Job], folder: ResultsFolder) -> None:
    """Keep the policies that the suite names; ConvgymError for one that cannot be kept small."""
    first: dict[str, Job] = {}
    for job in todo:
        if job.kind == "agent" and any(fnmatch(job.name, each) for each in suite.keep):
            first.setdefault(job.name, job)
    for job in first.values():
        target = folder.path / "policies" / job.label
        if not target.exists():
            keep_policy(folder.agent_folder(job) / "policy", target)


def _configs(suite: Suite, parts: Parts) -> dict[str, dict[str, Any]]:
    """Return the agents' configs, having made everything once: a misspelt name fails at once."""
    for name in suite.sellers:
        with whose(f"seller {name!r}"):
            options = suite.overrides.get(name, {})
            parts.make_seller(name, suite.evaluation_environment, **options)
    configs = {}
    for name in suite.agents:
        with whose(f"agent {name!r}"):
            agent = parts.make_agent(name, suite.overrides.get(name, {}))
            configs[name] = settings_of(agent.config)
    return configs


class _Teller:
    """Tells the news of jobs as news of the run."""

    def __init__(
        self,
        jobs: tuple[Job, ...],
        remaining: tuple[Job, ...],
        progress: Callable[[Update], None] | None,
    ) -> None:
        self._jobs, self._remaining, self._progress = jobs, remaining, progress

    def tell(self, job: Job, news: Progress, result: Result | None = None) -> None:
        if self._progress is not None:
            update = Update(
                news.stage,
                news.done,
                news.total,
                news.metrics,
                job=job,
                jobs=self._jobs,
                remaining=(job, *(other for other in self._remaining if other != job)),
                result=result,
            )
            self._progress(update)

    def finish(self, result: Result) -> None:
        self.tell(result.job, Progress("done", 0, 0), result)
        self._remaining = tuple(job for job in self._remaining if job != result.job)
