"""Validate one customer at the terminal and store what was found."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from convgym.benchmarks.report.progress import stages
from convgym.benchmarks.terminal import printable
from convgym.benchmarks.validation import report
from convgym.benchmarks.validation.subject import Subject
from convgym.benchmarks.validation.suite import get_checks, plan, validate
from convgym.benchmarks.validation.verdicts import Finding
from convgym.progress import Progress, ProgressCallback

_PLAIN_EVERY = 20.0
"""Seconds between two lines of progress where there is no terminal for a bar."""


def say(console: Console, text: str) -> None:
    """Print text that customers or servers had a hand in, harmlessly."""
    console.print(printable(text), markup=False, highlight=False)


class Whole:
    """Tells how far all encounters together are, and away from a terminal a line now and then."""

    def __init__(self, console: Console, tell: ProgressCallback, total: int) -> None:
        self._console, self._tell, self._total = console, tell, total
        self._done: dict[str, int] = {}
        self._last_line = time.monotonic()

    def update(self, news: Progress) -> None:
        """Take news of one encounter."""
        self._done[news.stage] = news.done
        done = sum(self._done.values())
        self._tell(Progress("conversations", done, self._total))
        now = time.monotonic()
        if not self._console.is_terminal and now - self._last_line > _PLAIN_EVERY:
            self._last_line = now
            self._console.print(f"{done:,} of {self._total:,} ({news.stage})", highlight=False)


def run(
    subject: Subject,
    folder: Path,
    checks: Sequence[str] | None,
    out: Console,
    err: Console,
    *,
    show: bool = False,
) -> tuple[Finding, ...]:
    """Say what it takes, hold the conversations, show the table and write the folder.

    Raises ConvgymError for an unknown check or a folder that is taken, before any conversation.
    """
    asked = get_checks(checks)
    report.check_output(folder)
    planned = plan(subject, asked)
    err.print(
        f"{len(planned.checks)} checks, {len(planned.encounters)} sellers:"
        f" {planned.conversations:,} conversations, at most {planned.replies:,} replies of the"
        " customer",
        highlight=False,
    )
    manifest = report.make_manifest(subject, planned)
    with stages(err) as tell:
        total = len(planned.encounters) * subject.conversations
        outcome = validate(subject, planned.checks, Whole(err, tell, total).update)
    written = report.store(folder, manifest, outcome)
    out.print(report.table(outcome.findings))
    if show:
        say(out, report.transcripts(outcome.findings))
    for reason in outcome.reasons[:3]:
        say(out, f"the backend failed: {reason}")
    say(out, f"\n{report.verdict(outcome.findings)}\nreport    {written}")
    return outcome.findings
