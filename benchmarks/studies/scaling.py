"""How much sooner a suite is done by several processes, and by workers of a Ray cluster.

    convgym study scaling [FILE.json] [--processes 2]

One small suite, one agent under a few training seeds, is run by ``convgym bench`` side by side: by
one process with a thread a core, by one with a single thread, by ``--jobs``, and by ``--ray`` with
as many workers, where Ray is installed. The ways take turns, round by round, and the seconds are
those of the whole command on the clock, its start and the report included: run it on a machine
that does nothing else. Rows must be the same however they were made, which is checked.
"""

from __future__ import annotations

import importlib.util
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import typer

from convgym.benchmarks.studies.study import Study, show
from convgym.errors import ConvgymError
from convgym.installing import install_command

Count = Annotated[int, typer.Option(min=1)]
TIMES = ("train_seconds", "evaluation_seconds", "cpu_seconds")


@dataclass(frozen=True)
class Way:
    """A way to have a suite done."""

    name: str
    arguments: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)


def ways(processes: int, *, with_ray: bool) -> list[Way]:
    """Return what is compared."""
    single = {"OMP_NUM_THREADS": "1"}
    jobs = ("--jobs", str(processes))
    compared = [
        Way("one process"),
        Way("one process, one thread", environment=single),
        Way(f"--jobs {processes}", jobs),
    ]
    if with_ray:
        compared.append(Way(f"--ray local --jobs {processes}", ("--ray", "local", *jobs)))
    return compared


def has_ray() -> bool:
    """Tell whether Ray is installed."""
    return importlib.util.find_spec("ray") is not None


def suite_text(agent: str, seeds: int, conversations: int, customers: int) -> str:
    """Return the suite's file."""
    return (
        f'name = "scaling"\nagents = ["{agent}"]\ntraining_seeds = {seeds}\n'
        f"conversations = {conversations}\nevaluation_episodes = {customers}\n"
    )


def run(way: Way, suite: Path, output: Path) -> float:
    """Run a suite in some way; return the seconds. ConvgymError says how it failed."""
    command = [sys.executable, "-m", "convgym.benchmarks.cli.main", "bench", str(suite)]
    started = time.monotonic()
    done = subprocess.run(
        [*command, "--output", str(output), *way.arguments],
        env={**os.environ, **way.environment},
        capture_output=True,
        text=True,
    )
    seconds = time.monotonic() - started
    if done.returncode:
        raise ConvgymError(f"{way.name} failed: {done.stderr.strip()[-300:]}")
    return seconds


def rows(output: Path) -> list[dict[str, Any]]:
    """Return a run's rows without their times."""
    lines = (output / "results.jsonl").read_text(encoding="utf-8").splitlines()
    return [
        {name: value for name, value in json.loads(line).items() if name not in TIMES}
        for line in lines
    ]


def table(seconds: Mapping[str, Sequence[float]]) -> list[dict[str, Any]]:
    """Return a row for each way: its median seconds, and how many times the first one's speed."""
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    first = next(iter(medians.values()))
    return [
        {
            "way": name,
            "seconds": round(median, 2),
            "speedup": round(first / median, 3),
            "each": [round(value, 2) for value in seconds[name]],
        }
        for name, median in medians.items()
    ]


def main(
    output: Annotated[Path | None, typer.Argument(help="New file.")] = None,
    processes: Count = 2,
    agent: str = "filtered-bc",
    seeds: Annotated[int, typer.Option(min=1, help="Jobs in all, but for the start.")] = 4,
    conversations: Count = 1024,
    customers: Count = 500,
    rounds: Annotated[int, typer.Option(min=1, help="How often each way takes its turn.")] = 2,
) -> None:
    """Measure, print, and store the seconds with commit, versions and machine."""
    study = Study(
        output,
        processes=processes,
        agent=agent,
        seeds=seeds,
        conversations=conversations,
        customers=customers,
    )
    with_ray = has_ray()
    if not with_ray:
        show(f"Ray is not installed ({install_command('ray')}): it is left out")
    seconds: dict[str, list[float]] = {}
    rows_of: dict[str, list[list[dict[str, Any]]]] = {}
    with TemporaryDirectory() as scratch:
        suite = Path(scratch, "scaling.toml")
        suite.write_text(suite_text(agent, seeds, conversations, customers), encoding="utf-8")
        for number in range(rounds):
            for place, way in enumerate(ways(processes, with_ray=with_ray)):
                folder = Path(scratch, f"{number}-{place}")
                seconds.setdefault(way.name, []).append(run(way, suite, folder))
                rows_of.setdefault(way.name, []).append(rows(folder))
    results = table(seconds)
    # Sums may be rounded otherwise by another number of threads, in the last digits.
    single = rows_of["one process, one thread"][0]
    for row in results:
        row["same_rows"] = all(each == single for each in rows_of[row["way"]])
        show(
            f"{row['way']:28} {row['seconds']:8.1f} s, {row['speedup']:.2f} times as fast;"
            f" rows {'the same' if row['same_rows'] else 'DIFFER'}"
        )
    study.store(ways=results)
