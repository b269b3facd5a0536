"""What was measured: stored as JSON, shown as a table, told in Markdown.

A results folder holds::

    manifest.json    code, settings, seeds, versions, machine, the reference's hash
    realism.json     the conclusion, and every figure with its interval and what it comes from
    report.md        the same for people

Tables and report are functions of the first two alone.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from hashlib import sha256
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
from convgym.benchmarks.validation.realism.figures import (
    Figure,
    Section,
    Verdict,
    figures_of,
    required,
    shown,
)
from convgym.benchmarks.validation.realism.measure import Measured, Reference
from convgym.benchmarks.validation.realism.plan import Plan
from convgym.benchmarks.validation.subject import Subject
from convgym.datafiles import check_new_folder, dumps, plain, write_atomically
from convgym.errors import ConvgymError
from convgym.secrets import check_options
from convgym.statistics import Estimate

_COLOURS: Mapping[Verdict, str] = {
    "holds": "green",
    "undecided": "yellow",
    "breaks": "bold red",
    "described": "",
    "not measured": "dim",
}

_NOT_VALIDATED = "not validated for realism: it was compared with nobody's chats"


def conclusion(sections: Sequence[Section], reference: str | None) -> str:
    """Return in a line what may be said of the customer, and no more.

    Args:
        sections: all that was measured.
        reference: the name of people's log that it was compared with.
    """
    figures = figures_of(sections)
    told = _consistency(figures)
    if reference is None:
        return f"{told}, {_NOT_VALIDATED}"
    compared = [each for each in figures if each.differs is not None and _of_people(each, sections)]
    apart = sum(bool(each.differs) for each in compared)
    if not compared:
        return f"{told}, not validated for realism: nothing could be compared with {reference}"
    return (
        f"{told}; {apart} of {len(compared)} figures differ from {reference} by more than chance,"
        " and the others may differ by as much as their intervals say"
    )


def _of_people(each: Figure, sections: Sequence[Section]) -> bool:
    """Tell whether a figure stands beside people's, and not beside the original's."""
    return any(each in section.figures for section in sections if section.name != "original")


def _consistency(figures: Sequence[Figure]) -> str:
    judged = [each for each in figures if each.verdict in ("holds", "undecided", "breaks")]
    breaking = [each.name for each in judged if each.verdict == "breaks"]
    open_ones = sum(each.verdict == "undecided" for each in judged)
    if breaking:
        return f"not internally consistent ({'; '.join(breaking)})"
    if not judged:
        return "internal consistency not measured"
    missing = sum(each.verdict == "not measured" for each in figures)
    left = f", {missing} not measured" if missing else ""
    if open_ones:
        return f"internal consistency undecided in {open_ones} of {len(judged)} figures{left}"
    return f"internally consistent in {len(judged)} figures{left}"


def broken(sections: Sequence[Section]) -> bool:
    """Return whether a figure lies outside its range."""
    return any(each.verdict == "breaks" for each in figures_of(sections))


def make_manifest(plan: Plan, reference: Reference | None, path: Path | None) -> dict[str, Any]:
    """Return the manifest of a measurement that starts now.

    Raises ConvgymError for a secret among the options, which would be written down.
    """
    subject = plan.subject
    run: dict[str, Any] = {
        **_who(subject),
        "catalog": subject.catalog.name,
        "range": "training",
        "customers": subject.conversations,
        "seed": subject.seed,
        "conversations": plan.conversations,
        "original": None if plan.original is None else _who(plan.original),
        "reference": None,
        "convgym": convgym.__version__,
        "commit": commit(),
        "versions": versions(),
    }
    if reference is not None and path is not None:
        run["reference"] = {
            "log": reference.name,
            "sha256": sha256(path.read_bytes()).hexdigest(),
            "conversations": len(reference.episodes),
        }
    return {"format": FORMAT, "run": run, "started": now(), "machine": machine()}


def _who(subject: Subject) -> dict[str, Any]:
    check_options(subject.environment)
    return {
        "customer": str(redacted(subject.customer)),
        "fingerprint": subject.fingerprint,
        "environment": redacted(plain(subject.environment)),
    }


def store(folder: Path, manifest: Mapping[str, Any], measured: Measured) -> Path:
    """Write a results folder and return the path of its report.

    Raises ConvgymError if there is something already.
    """
    check_new_folder(folder)
    folder.mkdir(parents=True, exist_ok=True)
    ended = {**manifest, "finished": now()}
    log = ended["run"]["reference"]
    concluded = conclusion(measured.sections, log and log["log"])
    told = {
        "conclusion": concluded,
        "sections": [
            {**asdict(section), "figures": [_row(each) for each in section.figures]}
            for section in measured.sections
        ],
        "replies": measured.replies,
        "failures": measured.failures,
    }
    write_atomically(folder / "manifest.json", dumps(ended, indent=1))
    write_atomically(folder / "realism.json", dumps(told, indent=1))
    path = folder / "report.md"
    write_atomically(path, markdown(ended, concluded, measured))
    return path


def _row(each: Figure) -> dict[str, Any]:
    row = asdict(each)
    for name in ("estimate", "reference", "distance"):
        if row[name] is not None:
            row[name] = list(row[name].values())
    return {**row, "verdict": each.verdict, "differs": each.differs}


def read(folder: Path) -> tuple[dict[str, Any], str, Measured]:
    """Return manifest, conclusion and figures of a results folder.

    Raises ConvgymError if it holds none.
    """
    try:
        manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        told = json.loads((folder / "realism.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConvgymError(
            f"{folder} holds no measurement of realism: make one with"
            " `convgym validate CUSTOMER --realism`"
        ) from None
    sections = tuple(
        Section(**{**section, "figures": tuple(_figure(row) for row in section["figures"])})
        for section in told["sections"]
    )
    return manifest, told["conclusion"], Measured(sections, told["replies"], told["failures"])


def _figure(row: Mapping[str, Any]) -> Figure:
    kept = {name: value for name, value in row.items() if name not in ("verdict", "differs")}
    for name in ("estimate", "reference", "distance"):
        kept[name] = _estimate(row[name])
    return Figure(**kept)


def _estimate(stored: Sequence[float | None] | None) -> Estimate | None:
    if stored is None:
        return None
    value, low, high = stored
    return Estimate(
        math.nan if value is None else value,
        -math.inf if low is None else low,
        math.inf if high is None else high,
    )


def cells(each: Figure) -> list[str]:
    """Return what a table shows of a figure: name, value, of, beside, distance, verdict."""
    if each.estimate is None:
        return [each.name, "not measured", "", shown(each.reference, each.unit), "", each.why]
    limits = required(each)
    verdict = f"{each.verdict}: {limits}" if limits else ""
    if each.differs is not None and not verdict:
        verdict = "differs" if each.differs else "no difference shown"
    return [
        each.name,
        shown(each.estimate, each.unit) + (f" {each.unit}" if each.unit not in ("%", "") else ""),
        f"{each.n:,} {each.of}",
        shown(each.reference, each.unit) + (f" of {each.reference_n:,}" if each.reference else ""),
        shown(each.distance, each.unit, signed=True),
        verdict,
    ]


HEADS = ("figure", "value [95% CI]", "of", "beside", "distance", "")


def table(section: Section) -> Table:
    """Return a section as a table for the terminal; columns that are empty are left out."""
    rows = [cells(each) for each in section.figures]
    used = [i for i, _ in enumerate(HEADS) if any(row[i] for row in rows) or i < 3]
    made = Table(box=box.SIMPLE_HEAD, title=f"{section.name}: {section.question}",
                 title_justify="left")  # fmt: skip
    for i in used:
        made.add_column(HEADS[i])
    for each, row in zip(section.figures, rows, strict=True):
        style = _COLOURS[each.verdict] or None
        made.add_row(*(escape(printable(row[i])) for i in used), style=style)
    return made


def markdown(manifest: Mapping[str, Any], concluded: str, measured: Measured) -> str:
    """Return the report: the conclusion, then every figure, and why others are missing."""
    run = manifest["run"]
    changed = " with changes" if run["commit"]["dirty"] else ""
    lines = [
        f"# Realism of {run['customer']}",
        "",
        f"{concluded[:1].upper()}{concluded[1:]}.",
        "",
        f"{run['customers']:,} customers of the training range, seed {run['seed']}, met each"
        f" seller; catalogue {run['catalog']}. Customer `{run['fingerprint']}`, options"
        f" `{dumps(run['environment'])}`. convgym"
        f" {run['convgym']}, commit {run['commit']['id'][:12]}{changed}, {manifest['started']}.",
    ]
    if run["original"] is not None:
        lines += ["", f"The original is `{run['original']['fingerprint']}`."]
    if run["reference"] is not None:
        log = run["reference"]
        lines += ["", f"The reference is {log['log']}, {log['conversations']:,} conversations."]
    if measured.failures:
        lost = ", ".join(f"{count} with {name}" for name, count in measured.failures.items())
        lines += ["", f"The backend failed in some conversations, which count for nothing: {lost}."]
    for section in measured.sections:
        lines += ["", f"## {section.name}", "", f"{section.question} ({section.source})"]
        lines += ["", *([section.note, ""] if section.note else []), *section_table(section)]
        lines += _notes(section)
    return "\n".join(lines) + "\n"


def section_table(section: Section) -> list[str]:
    """Return the lines of a Markdown table of a section."""
    return [
        f"| {' | '.join(HEADS)} |",
        f"|{'---|' * len(HEADS)}",
        *(f"| {' | '.join(cells(each))} |" for each in section.figures),
    ]


def _notes(section: Section) -> list[str]:
    told = [f"- {each.name}: {each.why}" for each in section.figures if each.estimate and each.why]
    return ["", *told] if told else []


def overview(runs: Mapping[str, Sequence[Section]], section: str) -> list[str]:
    """Return the lines of a Markdown table: a row a figure of a section, a column a run."""
    named = {
        run: {f.name: f for s in sections if s.name == section for f in s.figures}
        for run, sections in runs.items()
    }
    rows = list(dict.fromkeys(name for figures in named.values() for name in figures))
    return [
        f"| {section} | {' | '.join(runs)} |",
        f"|---|{'---|' * len(runs)}",
        *(
            f"| {row} | {' | '.join(_short(figures.get(row)) for figures in named.values())} |"
            for row in rows
        ),
    ]


def _short(each: Figure | None) -> str:
    if each is None:
        return ""
    if each.estimate is None:
        return "not measured"
    text = shown(each.estimate, each.unit)
    return f"**{text}**" if each.verdict == "breaks" else text


def comparison(run: str, sections: Sequence[Section]) -> list[str]:
    """Return the lines of a Markdown table: figures with a reference beside, of one run."""
    rows = [
        [each.name, *cells(each)[1:2], *cells(each)[3:]]
        for each in figures_of(sections)
        if each.differs is not None
    ]
    return [
        f"| {run} | value | beside | distance | |",
        "|---|---|---|---|---|",
        *(f"| {' | '.join(row)} |" for row in rows),
    ]
