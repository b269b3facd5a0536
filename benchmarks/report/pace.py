"""How long a run takes: said as it starts, and again as soon as this machine's pace is known."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console

from convgym.benchmarks.report.progress import Display, roughly
from convgym.benchmarks.runs.runner import Update
from convgym.benchmarks.runs.suites import Job, Suite, expected_seconds


@contextmanager
def shown(console: Console, suite: Suite, at_once: int = 1) -> Iterator[Callable[[Update], None]]:
    """Show how far a run of ``suite`` is (``Display``), and how long it takes (``Pace``).

    ``at_once`` jobs are done side by side.
    """

    def say(line: str) -> None:
        console.print(line, markup=False, highlight=False, soft_wrap=True)

    with Display(console, suite) as display:
        yield Pace(suite, say, display.update, at_once).update


class Pace:
    """Says two lines in the course of a run; its ``update`` is shown every ``Update``.

    Args:
        suite: what is run.
        say: prints a line.
        pass_on: shown every ``Update`` as well, after what is said of it.
        at_once: jobs that are done side by side.
        clock: seconds.
    """

    def __init__(
        self,
        suite: Suite,
        say: Callable[[str], None],
        pass_on: Callable[[Update], None],
        at_once: int = 1,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._suite, self._say, self._pass_on, self._clock = suite, say, pass_on, clock
        self._at_once = at_once
        self._begun: dict[Job, float] = {}
        self._expected = self._spent = 0.0
        self._measured = False

    def update(self, news: Update) -> None:
        """Say what there is to say: at the first update, and after the first language model."""
        now = self._clock()
        if not self._begun:
            n = len(news.remaining)
            side_by_side = f", {self._at_once} at a time" if self._at_once > 1 else ""
            self._say(
                f"{self._suite.name}: {n} job{'s' * (n > 1)}{side_by_side},"
                f" {self._about(news.remaining)}, going by a stored run"
            )
        began = self._begun.setdefault(news.job, now)
        if news.result is not None and not self._measured:
            self._expected += sum(self._seconds([news.job]))
            self._spent += max(now - began, news.result.seconds)
            self._measure(news)
        self._pass_on(news)

    def _measure(self, news: Update) -> None:
        ahead = news.remaining[1:]
        # Scripts take a second or two, too little to measure by while there is more to come.
        if ahead and (news.job.kind != "seller" or all(job.kind == "seller" for job in ahead)):
            self._measured = True
            pace = self._spent / self._expected
            self._say(
                f"measured here: {pace:.2g} times as long, so {self._about(ahead, pace)} are left"
            )

    def _seconds(self, jobs: Sequence[Job]) -> list[float]:
        return [expected_seconds(self._suite, job) for job in jobs]

    def _about(self, jobs: Sequence[Job], pace: float = 1.0) -> str:
        each = self._seconds(jobs)
        # The longest job is not divided.
        return roughly(pace * max(sum(each) / self._at_once, *each))
