"""How well vectorised customers keep a chat endpoint busy.

    convgym study llm-concurrency [FILE.json]

A server in a process of its own answers any number of requests at once, each after the same time.
With as many conversations as requests may be under way, an ideal client takes that time for a step
of the environment and no more: it would have ``concurrency / latency`` answers a second. What
``SalesVectorEnv`` reaches of that is printed, over all steps and in the median one.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import gymnasium
import typer

from convgym.benchmarks.studies.study import Study, show

CASES = ((8, 0.5), (32, 0.5), (32, 1.0), (64, 1.0))
"""Conversations, all of them under way at once, and seconds that an answer takes."""


@dataclass(frozen=True)
class Figures:
    """What was measured: answers a second, and their share of what is ideal."""

    concurrency: int
    latency: float
    answers: int
    seconds: float
    answers_per_second: float
    share_of_ideal: float
    share_of_ideal_median_step: float
    client_cpu_seconds: float


@contextmanager
def server(*latency: float) -> Iterator[str]:
    """Serve in another process and yield the base URL; see ``convgym.llm.fake_server.main``."""
    command = [sys.executable, "-m", "convgym.llm.fake_server", *map(str, latency)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield process.stdout.readline().strip()
        finally:
            process.terminate()


def measure(url: str, concurrency: int, latency: float, steps: int) -> Figures:
    """Hold conversations through ``convgym/Sales-v0`` for so many steps."""
    options: Mapping[str, Any] = {"model": "any", "base_url": url, "concurrency": concurrency}
    envs = gymnasium.make_vec(
        "convgym:convgym/Sales-v0",
        num_envs=concurrency,
        customer="llm",
        customer_options=options,
        max_turns=steps + 1,
    )
    envs.reset(seed=0)  # opens the connections, untimed
    took: list[float] = []
    cpu = time.process_time()
    for step in range(steps):
        started = time.perf_counter()
        envs.step(tuple(f"What about number {step}?" for _ in range(concurrency)))
        took.append(time.perf_counter() - started)
    cpu = time.process_time() - cpu
    envs.close()
    seconds = sum(took)
    return Figures(
        concurrency,
        latency,
        concurrency * steps,
        round(seconds, 3),
        round(concurrency * steps / seconds, 1),
        round(steps * latency / seconds, 3),
        round(latency / statistics.median(took), 3),
        round(cpu, 2),
    )


def run(cases: Sequence[tuple[int, float]], steps: int) -> list[Figures]:
    """Measure every case with a server of its own."""
    figures = []
    for concurrency, latency in cases:
        with server(latency) as url:
            figures.append(measure(url, concurrency, latency, steps))
    return figures


def main(output: Annotated[Path | None, typer.Argument(help="New file.")] = None) -> None:
    """Measure, print, and store the figures with commit, versions and machine."""
    study = Study(output)
    figures = run(CASES, steps=10)
    for case in figures:
        show(
            f"{case.concurrency:>3} conversations, {case.latency:.1f} s an answer:"
            f" {case.answers_per_second:>6.1f} answers a second,"
            f" {case.share_of_ideal:.2f} of ideal ({case.share_of_ideal_median_step:.2f} in the"
            f" median step), {case.client_cpu_seconds / case.answers * 1000:.1f} ms CPU an answer"
        )
    study.store(figures=[asdict(case) for case in figures])
