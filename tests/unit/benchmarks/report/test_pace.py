"""How long a run takes is told as it starts, and again by this machine's own pace."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from convgym.benchmarks.report.pace import Pace
from convgym.benchmarks.runs.folder import read_results
from convgym.benchmarks.runs.result import Result
from convgym.benchmarks.runs.runner import Update
from convgym.benchmarks.runs.suites import (
    QUICK,
    SMOKE,
    Job,
    Suite,
    expected_seconds,
    jobs,
)

STORED = Path(__file__).parents[4] / "benchmarks" / "results"


def run(
    suite: Suite, times: float, skip: int = 0, at_once: int = 1, watched: float = 1.0
) -> list[str]:
    """Return what is said of a run in which everything takes ``times`` as long as expected."""
    said: list[str] = []
    shown: list[Update] = []
    now = 0.0
    pace = Pace(suite, said.append, shown.append, at_once, lambda: now)
    todo: Any = tuple(jobs(suite, 0))
    for place in range(skip, len(todo)):
        update = Update("s", 0, 1, {}, job=todo[place], jobs=todo, remaining=todo[place:])
        pace.update(update)
        seconds = times * expected_seconds(suite, todo[place])
        now += seconds * watched
        result = Result(todo[place], "p", 1.0, train_seconds=seconds)
        pace.update(replace(update, result=result))
    assert len(shown) == 2 * (len(todo) - skip)
    return said


def test_it_is_told_at_the_start_and_once_the_machine_is_known() -> None:
    first, second = run(QUICK, 2.0)
    assert first == "quick: 11 jobs, about 10 min, going by a stored run"
    assert second == "measured here: 2 times as long, so about 20 min are left"


def test_earlier_sittings_of_a_training_count() -> None:
    assert run(QUICK, 2.0, watched=0.3) == run(QUICK, 2.0)


def test_jobs_side_by_side_take_as_long_as_the_longest_at_least() -> None:
    first, *_ = run(QUICK, 1.0, at_once=2)
    assert first == "quick: 11 jobs, 2 at a time, about 5 min 43 s, going by a stored run"
    first, *_ = run(QUICK, 1.0, at_once=20)
    assert first == "quick: 11 jobs, 20 at a time, about 5 min 43 s, going by a stored run"


def test_a_run_that_goes_on_tells_of_what_is_left() -> None:
    first, *more = run(QUICK, 1.0, skip=10)
    assert first == "quick: 1 job, about 5 min 43 s, going by a stored run" and not more


def test_scripts_alone_are_measured_by_themselves() -> None:
    assert len(run(replace(QUICK, agents=()), 0.5)) == 2


def test_smoke_is_a_matter_of_two_minutes_at_most() -> None:
    assert sum(expected_seconds(SMOKE, job) for job in jobs(SMOKE, 0)) < 60


def stored_seconds() -> dict[str, float]:
    """Return what the jobs of a stored run took, by name: those that take a second or more."""
    rows = read_results(STORED / "lab" / "2026-11-26-quick-two-jobs")
    seconds = {row.job.name: row.train_seconds + row.evaluation_seconds for row in rows}
    return {name: spent for name, spent in seconds.items() if spent > 1}


@pytest.mark.parametrize(("name", "seconds"), stored_seconds().items())
def test_what_is_expected_is_what_the_stored_run_took(name: str, seconds: float) -> None:
    (job,) = (job for job in jobs(QUICK, 0) if job.name == name)
    assert isinstance(job, Job)
    assert 0.8 < expected_seconds(QUICK, job) / seconds < 1.25
