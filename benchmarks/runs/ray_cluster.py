"""Jobs on a Ray cluster: this machine, or many. Ray is the extra ``ray``."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from convgym import packages
from convgym.agents.protocol import CHECKPOINT
from convgym.benchmarks.provenance import cores
from convgym.benchmarks.runs.executor import Outcome, Task
from convgym.benchmarks.runs.failure import Failure, attempt
from convgym.benchmarks.runs.identity import code_digest
from convgym.benchmarks.runs.processes import (
    Postman,
    check_can_be_sent,
    longest_last,
    use_threads,
)
from convgym.benchmarks.runs.suites import Job
from convgym.benchmarks.runs.workers import Tell
from convgym.errors import ConvgymError, InfrastructureError
from convgym.progress import Progress

LOCAL = "local"
"""The address of a cluster that is started for the run, on this machine."""
_EVERY = 0.5
"""Seconds between two looks at what the workers tell."""
_ENVIRONMENT = {"OMP_WAIT_POLICY": "PASSIVE", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}

Files = Mapping[str, bytes]
"""What a job left in its folder, by relative path."""


@dataclass(frozen=True)
class RayWorkers:
    """Does jobs on a Ray cluster.

    A worker computes in a folder of its own and sends outcome and files back as one object; this
    process alone writes into the results folder, so that machines need share none. A worker that
    is lost, with its machine perhaps, is replaced up to ``retries`` times, and its job begins
    anew: what it had done so far counts for nothing, as nothing of it came back.

    Attributes:
        address: of the cluster: ``"local"`` starts one on this machine, ``"auto"`` is the one that
            this machine is part of, or else ``HOST:PORT``.
        jobs: how many at a time; None is one for each GPU of the cluster, or else for each core.
        retries: how often a worker that was lost is replaced.
    """

    address: str = LOCAL
    jobs: int | None = None
    retries: int = 3

    def outcomes(self, tasks: Sequence[Task], tell: Tell) -> Generator[Outcome]:
        """Yield outcomes as they come; the files of a job are in its folder then.

        Raises:
            ConvgymError: without Ray, for a cluster that does not answer, and for machines that
                have another version of this code.
            InfrastructureError: for a job whose worker was lost again and again.
        """
        if not tasks:
            return
        ray = load_ray()
        with _connected(ray, self.address):
            share = share_of(ray.cluster_resources(), _node_cores(ray), self.jobs, len(tasks))
            mailbox = ray.remote(num_cpus=0, max_restarts=-1)(Mailbox).remote()
            work = ray.remote(num_cpus=share.cores, num_gpus=share.gpus, max_retries=self.retries)(
                _work
            )
            check_can_be_sent(tasks, ray.cloudpickle.dumps)
            sent = (mailbox, code_digest(), share.cores, os.getcwd(), tuple(sys.path))
            waiting = longest_last(tasks)
            running: dict[Any, Task] = {}
            try:
                while waiting or running:
                    while waiting and len(running) < share.jobs:
                        task = waiting.pop()
                        running[work.remote(task, *sent)] = task
                    done, _ = ray.wait([*running], timeout=_EVERY)
                    with suppress(ray.exceptions.RayError):  # news alone
                        for job, news in ray.get(mailbox.take.remote()):
                            tell(job, news)
                    for reference in done:
                        task = running.pop(reference)
                        yield _stored(task, *_got(ray, reference, task))
            finally:
                for reference in running:
                    ray.cancel(reference, force=True)


@dataclass(frozen=True)
class Share:
    """What a job gets of a cluster, and how many have room."""

    jobs: int
    cores: int
    gpus: float


def share_of(
    resources: Mapping[str, float], nodes: Sequence[float], jobs: int | None, tasks: int
) -> Share:
    """Return what each job gets of a cluster.

    Args:
        resources: of the whole cluster, as Ray names them.
        nodes: cores of each machine; no job gets more than the largest has.
        jobs: how many at a time, None for one to a GPU, or else to a core.
        tasks: how many there are; more at a time are of no use.
    """
    all_cores, gpus = int(resources.get("CPU", 1)), resources.get("GPU", 0.0)
    wanted = min(jobs or int(gpus) or all_cores, tasks)
    each = min(all_cores // wanted, int(max(nodes, default=1)))
    # Ray counts GPUs in ten thousandths.
    return Share(wanted, max(1, each), int(10_000 * min(1.0, gpus / wanted)) / 10_000)


def load_ray() -> Any:
    """Return the package; ConvgymError if it is not installed."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    return packages.load("ray", "--ray", "ray")


@contextmanager
def _connected(ray: Any, address: str) -> Iterator[None]:
    """Be connected to a cluster inside; a connection that is there already is used, and stays."""
    if ray.is_initialized():
        yield
        return
    ours = {"num_cpus": cores(), "include_dashboard": False} if address == LOCAL else {}
    try:
        ray.init(
            address,
            log_to_driver=False,
            logging_level="ERROR",
            runtime_env={"env_vars": _ENVIRONMENT},
            **ours,
        )
    except Exception as error:  # a node that does not start in time raises nothing better
        reason = " ".join(str(error).split())[:200]
        if address == LOCAL:
            raise InfrastructureError(
                f"Ray could not start a cluster on this machine ({reason}): try again when it is"
                " less busy, or take --jobs, which needs no cluster"
            ) from None
        raise ConvgymError(
            f"no Ray cluster answers at {address!r} ({reason}): start one by `ray start --head`, or"
            " give --ray local"
        ) from None
    try:
        yield
    finally:
        ray.shutdown()


def _node_cores(ray: Any) -> list[float]:
    return [node["Resources"].get("CPU", 0.0) for node in ray.nodes() if node["Alive"]]


def _got(ray: Any, reference: Any, task: Task) -> tuple[Outcome | Failure, Files]:
    try:
        outcome: tuple[Outcome | Failure, Files] = ray.get(reference)
    except ray.exceptions.RayError as error:
        reason = (str(error).splitlines() or [""])[0][:200]
        raise InfrastructureError(
            f"the worker of {task.job.label} was lost again and again"
            f" ({type(error).__name__}: {reason}): rows that are done stay, and the same command"
            " goes on from there"
        ) from None
    return outcome


def _stored(task: Task, outcome: Outcome | Failure, files: Files) -> Outcome:
    """Write a job's files in place of those that an interrupted attempt may have left."""
    if isinstance(outcome, Failure):
        raise outcome.error()
    if files:
        shutil.rmtree(task.folder, ignore_errors=True)
    for name, content in files.items():
        path = task.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return outcome


class Mailbox:
    """The last news of every job; an actor of the cluster."""

    def __init__(self) -> None:
        self._news: dict[Job, Progress] = {}

    def put(self, job: Job, news: Progress) -> None:
        """Leave news of a job."""
        self._news[job] = news

    def take(self) -> list[tuple[Job, Progress]]:
        """Return what is new."""
        news, self._news = self._news, {}
        return [*news.items()]


# In a worker, on another machine perhaps.


class _Sender:
    """Sends news to the mailbox, as to a queue."""

    def __init__(self, mailbox: Any) -> None:
        self._mailbox = mailbox

    def put(self, news: tuple[Job, Progress], /) -> None:
        self._mailbox.put.remote(*news)


def _work(
    task: Task, mailbox: Any, code: str, threads: int, place: str, modules: Sequence[str]
) -> tuple[Outcome | Failure, Files]:
    """Do a job in a folder of its own; return what it found and the files it left."""
    if code_digest() != code:
        told = ConvgymError(
            "a machine of the cluster has another version of convgym than this one: install the"
            " same on all"
        )
        return Failure.of(told), {}
    if os.path.isdir(place):  # where the run is, for the files that its suite names
        os.chdir(place)
    sys.path += [folder for folder in modules if folder not in sys.path]
    use_threads(threads)
    with TemporaryDirectory() as folder:
        here = replace(task, folder=Path(folder, "job"))
        outcome = attempt(here, Postman(_Sender(mailbox), task.job))
        return outcome, _files(here.folder)


def _files(folder: Path) -> Files:
    """Return a folder's files, but for the checkpoint, which nobody goes on from any more."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != CHECKPOINT
    }
