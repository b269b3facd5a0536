"""Who does the jobs of a run: here one after the other, or elsewhere several at a time."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from convgym.benchmarks.runs import executor
from convgym.benchmarks.runs.executor import Outcome, Task
from convgym.benchmarks.runs.suites import Job
from convgym.errors import whose
from convgym.progress import Progress, ProgressCallback

Executor = Callable[[Task, ProgressCallback], Outcome]
"""What does one job: ``executor.execute``, or something that has it done elsewhere."""
Tell = Callable[[Job, Progress], None]
"""Told how far a job is."""


class Workers(Protocol):
    """Does the jobs of a run; what is stored, and what is left out as done, is not its business."""

    def outcomes(self, tasks: Sequence[Task], tell: Tell) -> Generator[Outcome]:
        """Yield the outcome of every task as soon as it is known, in any order.

        An error of a job ends the iteration, and whoever is still at work is stopped; so does
        closing the iterator.

        Raises:
            ConvgymError, InfrastructureError: as ``executor.execute``.
            OwnError: for an error of a job's own, naming the job.
        """


@dataclass(frozen=True)
class InTurn:
    """Does one job after the other, in this process unless ``execute`` does them elsewhere."""

    execute: Executor = executor.execute

    def outcomes(self, tasks: Sequence[Task], tell: Tell) -> Generator[Outcome]:
        for task in tasks:
            with whose(who(task)):
                outcome = self.execute(task, partial(tell, task.job))
            yield outcome


def who(task: Task) -> str:
    """Return whose error it is that a job raises."""
    return f"{task.job.kind} {task.job.name!r}, seed {task.job.seed},"
