"""Jobs in several processes of this machine, a share of its cores each."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import pickle
import signal
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from multiprocessing.process import BaseProcess
from typing import Protocol

from convgym.benchmarks.provenance import cores
from convgym.benchmarks.runs.executor import Outcome, Task
from convgym.benchmarks.runs.failure import Failure, attempt
from convgym.benchmarks.runs.suites import Job, expected_seconds
from convgym.benchmarks.runs.workers import Tell
from convgym.errors import ConvgymError, InfrastructureError
from convgym.progress import Progress

_EVERY = 0.2
"""Seconds between two looks at what the processes tell, and between two pieces of news of one."""
_PATIENCE = 10.0
"""Seconds in which a process that is told to stop must do so."""
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


class Slot(Protocol):
    """Where news are put."""

    def put(self, obj: tuple[Job, Progress], /) -> None: ...


class Mail(Slot, Protocol):
    """A queue between processes."""

    def get(self) -> tuple[Job, Progress]: ...
    def empty(self) -> bool: ...


@dataclass(frozen=True)
class Processes:
    """Does jobs in ``jobs`` processes at a time, those first that take longest.

    Each computes with ``threads`` threads, by default with its share of the cores, so that they
    do not take them from each other. Memory is not shared: every process holds its own model.
    Tasks must be picklable; what they name is imported anew.
    """

    jobs: int
    threads: int | None = None

    def outcomes(self, tasks: Sequence[Task], tell: Tell) -> Generator[Outcome]:
        check_can_be_sent(tasks)
        waiting = longest_last(tasks)
        context = multiprocessing.get_context("spawn")
        mail: Mail = context.SimpleQueue()
        threads = self.threads or max(1, cores() // self.jobs)
        others = set(multiprocessing.active_children())
        pool = ProcessPoolExecutor(self.jobs, context, _begin, (mail, threads))
        running: dict[Future[Outcome | Failure], Job] = {}
        try:
            while waiting or running:
                while waiting and len(running) < self.jobs:
                    task = waiting.pop()
                    with _interruptions_held_back():  # a process inherits that, and we stop it
                        running[pool.submit(_work, task)] = task.job
                done, _ = wait(running, _EVERY, FIRST_COMPLETED)
                _deliver(mail, tell)
                failures: list[Failure] = []
                for future in done:
                    outcome = _found(future, [job.label for job in running.values()])
                    del running[future]
                    if isinstance(outcome, Failure):
                        failures.append(outcome)
                    else:
                        yield outcome
                for failure in failures:  # whatever else is known by now is stored
                    raise failure.error()
        finally:
            if running:
                _stop(set(multiprocessing.active_children()) - others)
            pool.shutdown(cancel_futures=True)


def check_can_be_sent(tasks: Sequence[Task], dumps: Callable[[Task], bytes] = pickle.dumps) -> None:
    """Raise ConvgymError for a task that cannot go to another process."""
    for task in tasks:
        try:
            dumps(task)
        except Exception as error:  # whatever an object of somebody's own does
            raise ConvgymError(
                f"{task.job.label} cannot be done in another process, as something that was given"
                f" cannot be sent there ({type(error).__name__}: {error}): give it as"
                " 'package.module:attribute', or have one process do it all"
            ) from None


def longest_last(tasks: Sequence[Task]) -> list[Task]:
    """Return tasks by the time that they take, from whose end those are taken that take longest.

    Begun late, such a job would keep one process busy when all others have none left.
    """
    # Of equals the first is taken first.
    return sorted(reversed(tasks), key=lambda task: expected_seconds(task.suite, task.job))


def _found(future: Future[Outcome | Failure], at_work: Sequence[str]) -> Outcome | Failure:
    try:
        return future.result()
    except BrokenProcessPool:
        raise InfrastructureError(
            f"a process ended abruptly while {' and '.join(sorted(at_work))} were at work, for"
            " lack of memory perhaps: rows that are done stay, and the same command goes on from"
            " there; fewer --jobs need less memory"
        ) from None


def _deliver(mail: Mail, tell: Tell) -> None:
    while not mail.empty():
        tell(*mail.get())


def _stop(processes: set[BaseProcess]) -> None:
    """Have processes end, by force those that do not; a second interruption has no patience."""
    try:
        for process in processes:
            process.terminate()
        deadline = time.monotonic() + _PATIENCE
        for process in processes:
            process.join(max(0.0, deadline - time.monotonic()))
    finally:
        for process in processes:
            process.kill()


@contextlib.contextmanager
def _interruptions_held_back() -> Iterator[None]:
    """Hold Ctrl-C back: a process that is started inside never sees one, not even while it starts.

    A terminal sends it to all processes at once, and each would show a traceback.
    """
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


# In the other process.

_mail: Mail
_at_work = False


def _begin(mail: Mail, threads: int) -> None:
    """Make a new process ready."""
    global _mail
    _mail = mail
    use_threads(threads)
    signal.signal(signal.SIGTERM, _end)
    threading.Thread(target=_end_with_the_parent, daemon=True).start()


def use_threads(threads: int) -> None:
    """Have numerical libraries compute with so many threads, whether they are loaded or not."""
    os.environ.update(dict.fromkeys(_THREADS, str(threads)))
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(threads)


def _end(number: int, frame: object) -> None:
    """End as by Ctrl-C, so that nothing that a job started is left running."""
    if _at_work:
        raise KeyboardInterrupt
    os._exit(0)


def _end_with_the_parent() -> None:
    """End at once if the run's process was killed: the same command may be at work already."""
    if parent := multiprocessing.parent_process():
        parent.join()
        os._exit(1)


def _work(task: Task) -> Outcome | Failure:
    global _at_work
    _at_work = True
    try:
        return attempt(task, Postman(_mail, task.job))
    except KeyboardInterrupt:
        os._exit(0)
    finally:
        _at_work = False


class Postman:
    """Sends a job's news: every new stage, and now and then how far it is."""

    def __init__(self, mail: Slot, job: Job) -> None:
        self._mail, self._job = mail, job
        self._stage, self._last = "", 0.0

    def __call__(self, news: Progress) -> None:
        now = time.monotonic()
        if news.stage == self._stage and now - self._last < _EVERY:
            return
        self._stage, self._last = news.stage, now
        self._mail.put((self._job, replace(news, metrics=plain_metrics(news.metrics))))


def plain_metrics(metrics: Mapping[str, object]) -> dict[str, float]:
    """Return those metrics that are numbers; of an agent that is not ours they may be anything."""
    return {str(name): value for name, value in metrics.items() if isinstance(value, float | int)}
