"""Show how far a run is: bars at a terminal, now and then a plain line anywhere else."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn

from convgym.benchmarks.report.rows import percent
from convgym.benchmarks.runs.result import Result
from convgym.benchmarks.runs.runner import Update
from convgym.benchmarks.runs.suites import Job, Suite, expected_seconds, time_left
from convgym.benchmarks.terminal import printable
from convgym.progress import Progress as Stage
from convgym.progress import ProgressCallback
from convgym.statistics import wilson_interval

_PLAIN_EVERY = 20.0
"""Seconds between two plain lines of one job."""
_STAGE_EVERY = 60.0
"""Seconds between two plain lines of one stage."""


@dataclass
class _AtWork:
    """A job that is being done, and its bar."""

    begun: float
    bar: TaskID
    line: float
    """When its last plain line was printed."""
    stage: str = ""
    stage_begun: float = 0.0


class Display:
    """A context manager whose ``update`` is the ``progress`` of ``run_suite``."""

    def __init__(
        self,
        console: Console,
        suite: Suite,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._console, self._suite, self._clock = console, suite, clock
        self._begun = clock()
        self._over: dict[Job, float] = {}
        self._at_work: dict[Job, _AtWork] = {}
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
        """Show an update, of any of the jobs that are at work."""
        now = self._clock()
        job = self._at_work.get(news.job)
        if job is None:
            bar = self._bars.add_task("", count="", left="")
            # The first line soon, not at once.
            job = self._at_work[news.job] = _AtWork(now, bar, now - _PLAIN_EVERY + 2)
        if news.stage != job.stage:
            job.stage, job.stage_begun = news.stage, now
        if news.result:
            # A training that was gone on with was watched in its last sitting alone.
            self._over[news.job] = max(now - job.begun, news.result.seconds)
            self._say_result(news, news.result)
            del self._at_work[news.job]
            self._bars.remove_task(job.bar)
        else:
            self._show_job(news, job, now)
        self._show_whole(news, now)

    def _show_whole(self, news: Update, now: float) -> None:
        left, spent = self._left(news, now), now - self._begun
        self._bars.update(
            self._whole,
            completed=spent,
            total=spent + left,
            count=f"{_over(news)} of {len(news.jobs)} done",
            left=f"{duration(left)} left",
        )

    def _left(self, news: Update, now: float) -> float:
        def expected(job: Job) -> float:
            return expected_seconds(self._suite, job)

        known = (*self._over, *self._at_work)
        return time_left(
            [(expected(job), seconds) for job, seconds in self._over.items()],
            [(expected(job), now - at_work.begun) for job, at_work in self._at_work.items()],
            [expected(job) for job in news.remaining if job not in known],
        )

    def _show_job(self, news: Update, job: _AtWork, now: float) -> None:
        text = printable(f"{news.job.label}: {news.stage}")
        self._bars.update(
            job.bar,
            description=text,
            completed=news.done,
            total=news.total or None,
            count=f"{news.done:,}/{news.total:,}" if news.total else "",
            left=_stage_left(news, now - job.stage_begun),
        )
        if self._console.is_terminal or now - job.line < _PLAIN_EVERY:
            return
        job.line = now
        share = f" {news.done:,}/{news.total:,}" if news.total else ""
        tail = _told(news.metrics)
        left = f"{roughly(self._left(news, now))} left in all"
        self._say(f"[{_over(news) + 1}/{len(news.jobs)}] {printable(text + share + tail)}, {left}")

    def _say_result(self, news: Update, result: Result) -> None:
        interval = percent(wilson_interval(result.conversions, result.episodes))
        self._say(
            f"[{_over(news)}/{len(news.jobs)}] {news.job.label}: conversion {interval} %"
            f" in {duration(self._over[news.job])}"
        )

    def _say(self, line: str) -> None:
        self._console.print(line, markup=False, highlight=False, soft_wrap=True)


def _over(news: Update) -> int:
    return len(news.jobs) - len(news.remaining) + (news.result is not None)


def _stage_left(news: Update, spent: float) -> str:
    if not 0 < news.done < news.total:
        return ""
    return f"{duration(spent * (news.total - news.done) / news.done)} left"


@contextmanager
def stages(console: Console) -> Iterator[ProgressCallback]:
    """Show the stages of one piece of work, a bar each at a terminal and else a line now and then.

    The first line of a stage comes at its beginning, and others as long as it takes.
    """
    bars = Progress(*Progress.get_default_columns(), console=console)
    tasks: dict[str, TaskID] = {}
    said_at = 0.0

    def report(news: Stage) -> None:
        nonlocal said_at
        now, line = time.monotonic(), ""
        if news.stage not in tasks:
            tasks[news.stage] = bars.add_task(news.stage, total=news.total)
            line = f"{news.stage}: {_first(news)}"
        elif now - said_at >= _STAGE_EVERY:
            line = f"{news.stage}: {news.done:,}/{news.total:,}{_told(news.metrics)}"
        if line and not console.is_terminal:
            console.print(line, markup=False, highlight=False, soft_wrap=True)
            said_at = now
        bars.update(tasks[news.stage], completed=news.done)

    bars.disable = not console.is_terminal
    with bars:
        yield report


def _first(news: Stage) -> str:
    """Return what is said of a stage at its first news, which may come after its first step."""
    if 0 < news.total <= news.done:
        return f"done{_told(news.metrics)}"
    if news.done > 1:
        return f"goes on at {news.done:,}/{news.total:,}"
    return f"{news.total:,} to do"


def _told(metrics: Mapping[str, object]) -> str:
    told = ", ".join(_metric(name, value) for name, value in metrics.items())
    return f" ({told})" if told else ""


def _metric(name: str, value: object) -> str:
    """Return a metric for people; of an agent that is not ours it may be anything."""
    return f"{name} {value:.3g}" if isinstance(value, float | int) else f"{name} {str(value)[:20]}"


def roughly(seconds: float) -> str:
    """Return an estimate for people, who take ``0 s`` for a mistake and ``7 s`` for a promise."""
    return "a few seconds" if seconds < 10 else f"about {duration(seconds)}"


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
