"""The suite's outcome: stored as JSON, shown as a table, told in Markdown.

A results folder holds::

    manifest.json    code, settings, seeds, versions, machine
    findings.json    every check with its measures and conversations
    report.md        the same for people

Table and report are functions of the first two alone.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich import box
from rich.markup import escape
from rich.table import Table

import convgym
from convgym.benchmarks.provenance import commit, machine, now, versions
from convgym.benchmarks.runs.redaction import redacted
from convgym.benchmarks.runs.schema import FORMAT
from convgym.benchmarks.terminal import printable
from convgym.benchmarks.validation.subject import Subject
from convgym.benchmarks.validation.suite import CHECKS, ON_REQUEST, Outcome, Plan
from convgym.benchmarks.validation.verdicts import (
    Finding,
    Measure,
    Status,
    Transcript,
    advice,
    spelled,
    tell,
    value,
)
from convgym.conversation import render
from convgym.datafiles import check_new_folder, dumps, plain, write_atomically
from convgym.errors import ConvgymError
from convgym.secrets import check_options
from convgym.statistics import Estimate

_COLOURS: Mapping[Status, str] = {
    "pass": "green",
    "warn": "yellow",
    "fail": "bold red",
    "invalid": "bold red",
    "skipped": "dim",
}


def make_manifest(subject: Subject, planned: Plan) -> dict[str, Any]:
    """Return the manifest of a validation that starts now.

    Raises ConvgymError for a secret among the subject's options, which would be written down.
    """
    check_options(subject.environment)
    customer = str(redacted(subject.customer))
    return {
        "format": FORMAT,
        "run": {
            "customer": customer,
            "fingerprint": subject.fingerprint,
            "environment": redacted(plain(subject.environment)),
            "catalog": subject.catalog.name,
            "conversations_each": subject.conversations,
            "seed": subject.seed,
            "checks": [check.name for check in planned.checks],
            "limits": subject.limits.changed,
            "conversations": planned.conversations,
            "convgym": convgym.__version__,
            "commit": commit(),
            "versions": versions(),
        },
        "started": now(),
        "machine": machine(),
    }


def check_output(folder: Path) -> None:
    """Raise ConvgymError unless a validation can be stored here."""
    check_new_folder(folder)


def store(folder: Path, manifest: Mapping[str, Any], outcome: Outcome) -> Path:
    """Write a results folder and return the path of its report."""
    check_output(folder)
    folder.mkdir(parents=True, exist_ok=True)
    ended = {**manifest, "finished": now()}
    findings = {
        "findings": [_row(finding) for finding in outcome.findings],
        "replies": outcome.replies,
        "failures": outcome.failures,
        "reasons": outcome.reasons[:5],
    }
    write_atomically(folder / "manifest.json", dumps(ended, indent=1))
    write_atomically(folder / "findings.json", dumps(findings, indent=1))
    path = folder / "report.md"
    write_atomically(path, markdown(ended, outcome.findings, outcome.failures))
    return path


def _row(finding: Finding) -> dict[str, Any]:
    return {
        **asdict(finding),
        "measures": [_measure_row(measure) for measure in finding.measures],
        "control": _measure_row(finding.control) if finding.control else None,
    }


def _measure_row(measure: Measure) -> dict[str, Any]:
    row = asdict(measure)
    # JSON knows neither nan nor infinity.
    estimate = [None if not math.isfinite(part) else part for part in row["estimate"].values()]
    most = None if math.isinf(measure.most) else measure.most
    return {**row, "status": measure.status, "estimate": estimate, "most": most}


def read(folder: Path) -> tuple[dict[str, Any], list[Finding], dict[str, int]]:
    """Return manifest, findings and failures of a results folder.

    Raises ConvgymError if it holds none.
    """
    try:
        manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        stored = json.loads((folder / "findings.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConvgymError(
            f"{folder} holds no validation: make one with `convgym validate`"
        ) from None
    return manifest, [_finding(row) for row in stored["findings"]], stored["failures"]


def _finding(row: Mapping[str, Any]) -> Finding:
    return Finding(
        spelled(row["check"]),  # older runs have blanks in it
        row["status"],
        row["summary"],
        tuple(_measure(measure) for measure in row["measures"]),
        tuple(
            Transcript(**{**shown, "messages": tuple(shown["messages"])})
            for shown in row["transcripts"]
        ),
        _measure(row["control"]) if row.get("control") else None,  # older runs have none
    )


def _measure(row: Mapping[str, Any]) -> Measure:
    point, low, high = row["estimate"]
    estimate = Estimate(
        math.nan if point is None else point,
        -math.inf if low is None else low,
        math.inf if high is None else high,
    )
    kept = {name: what for name, what in row.items() if name not in ("status", "estimate", "most")}
    return Measure(**kept, estimate=estimate, most=math.inf if row["most"] is None else row["most"])


def verdict(findings: Sequence[Finding]) -> str:
    """Return how many checks ended in which way, ``11 pass, 2 warn, 1 fail``."""
    counted = Counter(finding.status for finding in findings)
    return ", ".join(f"{counted[status]} {status}" for status in _COLOURS if counted[status])


def failed(findings: Sequence[Finding]) -> bool:
    """Return whether a check failed, or could not be judged for the backend's failures."""
    return any(finding.status in ("fail", "invalid") for finding in findings)


def table(findings: Sequence[Finding]) -> Table:
    """Return the findings as a table for the terminal."""
    shown = Table(box=box.SIMPLE_HEAD)
    shown.add_column("check", no_wrap=True)
    shown.add_column("", no_wrap=True)
    shown.add_column("what decided it")
    for finding in findings:
        colour = _COLOURS[finding.status]
        status = f"[{colour}]{finding.status}[/]"
        shown.add_row(finding.check, status, escape(printable(finding.summary)))
    return shown


def transcripts(findings: Sequence[Finding]) -> str:
    """Return the kept conversations of every check as text."""
    blocks = []
    for finding in findings:
        for shown in finding.transcripts:
            head = f"--- {finding.check} ({finding.status}): {_caption(shown)}"
            blocks.append(f"{head}\n{render(shown.messages)}")
    return "\n\n".join(blocks)


def markdown(
    manifest: Mapping[str, Any], findings: Sequence[Finding], failures: Mapping[str, int]
) -> str:
    """Return the report: verdicts, every measure, and the conversations that show them."""
    run = manifest["run"]
    questions = {check.name: check.question for check in (*CHECKS, *ON_REQUEST)}
    changed = " with changes" if run["commit"]["dirty"] else ""
    lines = [
        f"# Validation of {run['customer']}",
        "",
        f"{verdict(findings)}. {run['conversations_each']:,} customers met each seller, seed"
        f" {run['seed']}, catalogue {run['catalog']}.",
        "",
        f"Customer `{run['fingerprint']}`, options `{dumps(run['environment'])}`. convgym"
        f" {run['convgym']}, commit {run['commit']['id'][:12]}{changed}, {manifest['started']}.",
    ]
    if limits := run.get("limits"):
        told = ", ".join(f"{spelled(name)} {limit:g}" for name, limit in limits.items())
        lines += ["", f"Limits that are not the usual ones: {told}."]
    if failures:
        lost = ", ".join(f"{count} with {name}" for name, count in failures.items())
        lines += ["", f"The backend failed in some conversations, which count for nothing: {lost}."]
    for finding in findings:
        lines += ["", f"## {finding.check}: {finding.status}", "", questions[finding.check], ""]
        if finding.control:
            lines += [_control(finding, finding.control), ""]
        if finding.measures:
            lines += measures_table(finding.measures)
        else:
            lines.append(f"{finding.summary}.")
        for shown in finding.transcripts:
            lines += ["", f"{_caption(shown)}:", "", *_quoted(shown)]
    return "\n".join(lines) + "\n"


def measures_table(measures: Sequence[Measure]) -> list[str]:
    """Return the lines of a Markdown table of measures."""
    return [
        "| measure | value [95% CI] | of | required | verdict |",
        "|---|---|---|---|---|",
        *(
            f"| {measure.what} | {value(measure)} | {measure.n:,} | {measure.required} |"
            f" {advice(measure) if measure.status == 'warn' else measure.status} |"
            for measure in measures
        ),
    ]


def overview(runs: Mapping[str, Sequence[Finding]]) -> list[str]:
    """Return the lines of a Markdown table: a row a check, a column a customer."""
    rows = [
        [check.name, *(_status(findings, check.name) for findings in runs.values())]
        for check in CHECKS
    ]
    return [
        f"| check | {' | '.join(runs)} |",
        f"|---|{'---|' * len(runs)}",
        *(f"| {' | '.join(row)} |" for row in rows),
    ]


def tell_failures(run: str, findings: Sequence[Finding]) -> list[str]:
    """Return a line of Markdown for each measure that failed, or check that was invalid."""
    lines = []
    for finding in findings:
        failing = [tell(measure) for measure in finding.measures if measure.status == "fail"]
        if finding.status == "invalid":
            failing.append(finding.summary)
        lines += [f"- {run}, {finding.check}: {text}" for text in failing]
    return lines


def _status(findings: Sequence[Finding], check: str) -> str:
    status = next((finding.status for finding in findings if finding.check == check), "")
    return f"**{status}**" if status in ("fail", "invalid") else status


def _control(finding: Finding, control: Measure) -> str:
    undecided = control.status != "pass" and finding.status == "warn"
    reason = " Undecided, as not to buy says nothing unless it buys from the control."
    return f"Control: {tell(control)}.{reason if undecided else ''}"


def _caption(shown: Transcript) -> str:
    ending = shown.outcome.replace("_", " ")
    return f"{shown.note}; seller {shown.seller}, seed {shown.seed}, {ending}"


def _quoted(shown: Transcript) -> list[str]:
    # What customers say is data: indented, so that no mark of theirs is Markdown.
    return [f"    {line}" for line in render(shown.messages).splitlines()]
