"""``convgym logs import`` and ``export``: logs that others wrote, and ours for others."""

from __future__ import annotations

import json
from enum import StrEnum
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from convgym.benchmarks.cli.options import findable, named
from convgym.benchmarks.terminal import say
from convgym.errors import ConvgymError

if TYPE_CHECKING:
    from convgym.exchange.importing import ImportReport


class Missing(StrEnum):
    """What becomes of conversations without an outcome."""

    drop = "drop"
    lost = "lost"


class Keep(StrEnum):
    """What becomes of a greeting, or of a message without text."""

    drop = "drop"
    keep = "keep"


_FORMATS = "openai, sharegpt, jsonl, csv, parquet, datasets or minari"
Source = Annotated[Path, typer.Argument(help="File or folder that others wrote.")]
Log = Annotated[Path, typer.Argument(help="JSONL file to write; never overwritten.")]
Format = Annotated[
    str | None, typer.Option(help=f"{_FORMATS}.", show_default="guessed from the file")
]
Field = Annotated[
    str | None, typer.Option(help="Field or column that says whether the customer bought.")
]
Values = Annotated[
    list[str] | None,
    typer.Option(
        "--outcome-value",
        metavar="VALUE=MEANING",
        help="What a value of it means: purchase, walk_away, turn_limit or missing;"
        " '>0=purchase' for amounts.",
    ),
]
Rule = Annotated[
    str | None,
    typer.Option(
        help="In its place: last-customer:REGEX, any:REGEX ..., or package.module:function.",
        callback=findable,
    ),
]
Role = Annotated[
    str | None, typer.Option(help="Roles that speak for this side: a,b; * for others.")
]
Ignored = Annotated[str | None, typer.Option(help="Roles that are neither side: a,b.")]
Column = Annotated[str | None, typer.Option(help="Field or column, if it is not found by itself.")]
Encoding = Annotated[
    str | None, typer.Option(help="Encoding of a text file.", show_default="UTF-8, or by its mark")
]


def import_(
    source: Source,
    log: Log,
    format: Format = None,
    outcome: Field = None,
    outcome_value: Values = None,
    outcome_rule: Rule = None,
    missing: Annotated[Missing, typer.Option(help="Without an outcome.")] = Missing.drop,
    customer: Role = None,
    seller: Role = None,
    ignore: Ignored = None,
    conversation: Column = None,
    speaker: Column = None,
    text: Column = None,
    order: Column = None,
    greeting: Annotated[Keep, typer.Option(help="The seller's words before all.")] = Keep.drop,
    empty: Annotated[Keep, typer.Option(help="Messages without text.")] = Keep.drop,
    encoding: Encoding = None,
    policy: Annotated[str, typer.Option(help="What the seller is called.")] = "imported",
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Make a log of chats that others wrote, and tell of all that was left out or changed."""
    from convgym.exchange import ImportSettings, import_log
    from convgym.logs import check_new_log, write_log

    settings = ImportSettings(
        format=format,
        outcome=outcome,
        outcome_values=_values(outcome_value or []),
        outcome_rule=outcome_rule,
        missing=missing.value,
        customer=_roles(customer),
        seller=_roles(seller),
        ignore=_roles(ignore),
        conversation=conversation,
        speaker=speaker,
        text=text,
        order=order,
        greeting=greeting.value,
        empty=empty.value,
        encoding=encoding,
        policy=policy,
    )
    check_new_log(log)
    imported = import_log(source, settings)
    report = imported.report
    if report.kept:
        write_log(log, imported.episodes)
    if as_json:
        print(json.dumps({**report.as_json(), "log": str(log)}, indent=2))
    else:
        _show(report, log)
    if not report.kept:
        why = [finding for finding in report.findings if finding.kind == "conversations left out"]
        told = ", ".join(f"{finding.count}: {finding.meaning}" for finding in why)
        raise ConvgymError(
            f"nothing of {source} was kept, and {log} was not written"
            f" ({told or 'there is no conversation in it'})"
        )


def _show(report: ImportReport, log: Path) -> None:
    say(f"{report.source}: {report.conversations} conversations, read as {report.format}")
    for side in ("customer", "seller", "ignored"):
        if words := [word for word, whose in report.sides.items() if whose == side]:
            say(f"{side}: {', '.join(words[:8])}{', ...' if len(words) > 8 else ''}")
    say(f"outcome: {report.outcome}")
    for kind, findings in groupby(report.findings, key=lambda finding: finding.kind):
        say(f"\n{kind}:")
        for finding in findings:
            say(f"{finding.count:6}  {finding.meaning}")
            for example in finding.examples:
                say(f"          {example}")
    if report.kept:
        share = report.sales / report.kept
        say(f"\nwrote {report.kept} conversations to {log}, {report.sales} sales ({share:.1%})")


def export(
    log: Annotated[Path, typer.Argument(help="JSONL file to read.")],
    target: Annotated[Path, typer.Argument(help="File or folder to write; never overwritten.")],
    format: Annotated[
        str | None,
        typer.Option(
            help="openai, sharegpt, csv, parquet, datasets or minari.",
            show_default="by the target's name",
        ),
    ] = None,
) -> None:
    """Write a log in a format that others read."""
    from convgym.exchange import export_log
    from convgym.logs import read_log

    read = read_log(log)
    for problem in read.report.problems:
        say(f"line {problem.line} of {log} was left out: {problem.message}")
    exported = export_log(read.episodes, target, format)
    left_out = (
        f"; left out {exported.left_out} that were broken off or have no turn"
        if exported.left_out
        else ""
    )
    say(f"wrote {exported.written} conversations to {target} as {exported.format}{left_out}")


def prompts(
    log: Annotated[Path, typer.Argument(help="JSONL file to read.")],
    target: Annotated[Path, typer.Argument(help="Parquet file to write; never overwritten.")],
    system_message: Annotated[
        str | None, typer.Option(help="What the trained model is told before every conversation.")
    ] = None,
) -> None:
    """Write every state of a log as a prompt, for trainers of others: verl, OpenRLHF, TRL."""
    from convgym.agents.training.collector import read_training_log
    from convgym.exchange.prompts import write_prompts
    from convgym.seeds import EVALUATION_BASE

    read = read_training_log(log, EVALUATION_BASE)  # prompts are what is trained on
    for problem in read.report.problems:
        say(f"line {problem.line} of {log} was left out: {problem.message}")
    written = write_prompts(read.episodes, target, system_message=system_message)
    say(f"wrote {written} prompts to {target}")


def _roles(given: str | None) -> tuple[str, ...]:
    return () if given is None else tuple(named(given))


def _values(items: list[str]) -> dict[str, str]:
    values: dict[str, str] = {}
    for item in items:
        value, equals, meaning = item.rpartition("=")
        if not equals:
            raise ConvgymError(f"expected an outcome's value as VALUE=MEANING, got {item!r}")
        values[value] = meaning
    return values
