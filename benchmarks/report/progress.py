"""Show how far a run is: bars at a terminal, now and then a plain line anywhere else."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn

from convgym.benchmarks.report.rows import percent
from convgym.benchmarks.runs.runner import Update
from convgym.benchmarks.runs.suites import Job, Suite, expected_seconds, time_left
from convgym.benchmarks.terminal import printable
from convgym.progress import Progress as Stage
from convgym.progress import ProgressCallback
from convgym.statistics import wilson_interval

_PLAIN_EVERY = 20.0
"""Seconds between two plain lines of one job."""


class Display:
    """A context manager whose ``update`` is the ``progress`` of ``run_suite``."""

    def __init__(
        self,
        console: Console,
        suite: Suite,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._console, self._suite, self._clock = console, suite, clock
        self._expected: list[float] = []
        self._finished: list[float] = []
        self._job: Job | None = None
        self._stage = ""
        self._job_start = self._stage_start = self._last_line = clock()
        self._bars = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=32),
            TextColumn("{task.fields[count]}"),
            TextColumn("{task.fields[left]}", style="cyan"),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._whole = self._bars.add_task("whole run", count="", left="")
        self._part = self._bars.add_task("", count="", left="")

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._bars.stop()

    def update(self, news: Update) -> None:
        """Show an update."""
        now = self._clock()
        if not self._expected:
            self._expected = [expected_seconds(self._suite, job) for job in news.remaining]
        if (news.job, news.stage) != (self._job, self._stage):
            self._stage_start = now
            if news.job != self._job:
                self._job_start = now
                self._last_line = now - _PLAIN_EVERY + 2  # the first line soon, not at once
            self._job, self._stage = news.job, news.stage
        if news.result:
            self._finished.append(now - self._job_start)
            self._say_result(news)
        self._show(news, now)

    def _show(self, news: Update, now: float) -> None:
        over = len(news.jobs) - len(news.remaining) + (news.result is not None)
        current = 0.0 if news.result else now - self._job_start
        left = time_left(self._expected, self._finished, current)
        spent = sum(self._finished) + current
        metrics = ", ".join(_metric(name, value) for name, value in news.metrics.items())
        text = printable(f"{news.job.label}: {news.stage}")
        self._bars.update(
            self._whole,
            completed=spent,
            total=spent + left,
            count=f"{over} of {len(news.jobs)} done",
            left=f"{duration(left)} left",
        )
        self._bars.update(
            self._part,
            description=text,
            completed=news.done,
            total=news.total or None,
            count=f"{news.done:,}/{news.total:,}" if news.total else "",
            left=self._stage_left(news, now),
        )
        if not self._console.is_terminal and now - self._last_line >= _PLAIN_EVERY:
            self._last_line = now
            share = f" {news.done:,}/{news.total:,}" if news.total else ""
            tail = f" ({metrics})" if metrics else ""
            place = min(over + 1, len(news.jobs))
            self._console.print(
                printable(
                    f"[{place}/{len(news.jobs)}] {text}{share}{tail}, {duration(left)} left in all"
                ),
                markup=False,
                highlight=False,
                soft_wrap=True,
            )

    def _stage_left(self, news: Update, now: float) -> str:
        if not 0 < news.done < news.total:
            return ""
        spent = now - self._stage_start
        return f"{duration(spent * (news.total - news.done) / news.done)} left"

    def _say_result(self, news: Update) -> None:
        assert news.result
        place = len(news.jobs) - len(news.remaining) + 1
        interval = percent(wilson_interval(news.result.conversions, news.result.episodes))
        self._console.print(
            f"[{place}/{len(news.jobs)}] {news.job.label}: conversion {interval} %"
            f" in {duration(self._finished[-1])}",
            markup=False,
            highlight=False,
            soft_wrap=True,
        )


@contextmanager
def stages(console: Console) -> Iterator[ProgressCallback]:
    """Show the stages of one piece of work, a bar each at a terminal and else a line each."""
    bars = Progress(*Progress.get_default_columns(), console=console)
    tasks: dict[str, TaskID] = {}

    def report(news: Stage) -> None:
        if news.stage not in tasks:
            tasks[news.stage] = bars.add_task(news.stage, total=news.total)
            if not console.is_terminal:
                console.print(f"{news.stage}: {news.total:,} to do", highlight=False)
        bars.update(tasks[news.stage], completed=news.done)

    bars.disable = not console.is_terminal
    with bars:
        yield report


def _metric(name: str, value: object) -> str:
    """Return a metric for people; of an agent that is not ours it may be anything."""
    return f"{name} {value:.3g}" if isinstance(value, float | int) else f"{name} {str(value)[:20]}"


def duration(seconds: float) -> str:
    """Return a time for people: ``8 s``, ``4 min 20 s``, ``2 h 5 min``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 10 and rest:
        return f"{minutes} min {rest} s"
    if minutes < 60:
        return f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60} min"
