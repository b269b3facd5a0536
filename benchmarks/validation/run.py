"""Validate one customer at the terminal and store what was found."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from convgym.benchmarks.report.progress import stages
from convgym.benchmarks.validation import report
from convgym.benchmarks.validation.subject import Subject
from convgym.benchmarks.validation.suite import get_checks, plan, validate
from convgym.benchmarks.validation.verdicts import Finding
from convgym.progress import Progress

_PLAIN_EVERY = 20.0
"""Seconds between two lines of progress where there is no terminal for a bar."""


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
    report.check_output(folder)
    planned = plan(subject, get_checks(checks))
    err.print(
        f"{len(planned.checks)} checks, {len(planned.encounters)} sellers:"
        f" {planned.conversations:,} conversations, at most {planned.replies:,} replies of the"
        " customer",
        highlight=False,
    )
    manifest = report.make_manifest(subject, planned)
    done: dict[str, int] = {}
    total = len(planned.encounters) * subject.conversations
    told = time.monotonic()
    with stages(err) as tell:

        def progress(encounter: str, finished: int) -> None:
            nonlocal told
            done[encounter] = finished
            tell(Progress("conversations", sum(done.values()), total, {}))
            if not err.is_terminal and time.monotonic() - told > _PLAIN_EVERY:
                told = time.monotonic()
                err.print(f"{sum(done.values()):,} of {total:,} ({encounter})", highlight=False)

        outcome = validate(subject, planned.checks, progress)
    written = report.store(folder, manifest, outcome)
    out.print(report.table(outcome.findings))
    if show:
        out.print(report.transcripts(outcome.findings), markup=False, highlight=False)
    for reason in outcome.reasons[:3]:
        out.print(f"the backend failed: {reason}", markup=False, highlight=False)
    out.print(f"\n{report.verdict(outcome.findings)}\nreport    {written}", highlight=False)
    return outcome.findings
