"""``convgym train``: train one agent."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from convgym.benchmarks.cli.examples import examples
from convgym.benchmarks.cli.options import (
    AsJson,
    Catalog,
    Customer,
    CustomerOptions,
    Device,
    Dtype,
    OwnSettings,
    Personas,
    Seed,
    as_given,
    computing,
    environment,
    findable,
    own_settings,
    with_computing,
)
from convgym.benchmarks.cli.steps import show, working
from convgym.errors import ConvgymError


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(
        epilog=examples(
            "convgym train iterative-ppo --output trained",
            "convgym train bc --log log.jsonl --conversations 1000 --output clone",
            "convgym train online-ppo --output short --conversations 256 --set deployment=64",
        )
    )(train)


def train(
    agent: Annotated[
        str, typer.Argument(help="An agent by name, or package.module:Class.", callback=findable)
    ],
    output: Annotated[Path, typer.Option(help="Folder; a finished one is never overwritten.")],
    conversations: Annotated[int, typer.Option(min=1, help="The budget.")] = 2048,
    seed: Seed = 0,
    settings: OwnSettings = None,
    log: Annotated[
        Path | None,
        typer.Option(help="A log that an offline agent learns from, in place of one made for it."),
    ] = None,
    policy: Annotated[
        str | None,
        typer.Option(help="What it starts from: a folder or a name.", show_default="default"),
    ] = None,
    customer: Customer = None,
    customer_option: CustomerOptions = None,
    catalog: Catalog = None,
    personas: Personas = None,
    device: Device = None,
    dtype: Dtype = None,
    as_json: AsJson = False,
) -> None:
    """Train one agent, and keep its policy, its learning curve and its metrics.

    Interrupt it at any time: the same command goes on where it stopped.
    """
    from convgym.agents.training.collector import Collector
    from convgym.benchmarks.runs.single import train_one

    options = environment(customer, catalog, personas, customer_option)
    given = with_computing(own_settings(settings), computing(device, dtype), ["policy"])
    collector = Collector(conversations, seed=seed, environment=options, log=log)
    if policy is not None:
        within = given.setdefault("policy", {})
        if not isinstance(within, dict) or "model" in within:
            raise ConvgymError("the policy is given by --policy and by --set: drop one")
        within["model"] = policy
    with working(output, resumes=True) as progress:
        report = train_one(agent, given, collector, output, progress=progress)
    usage = report["usage"]
    there = as_given(customer, catalog, personas, customer_option)
    show(
        report,
        [
            f"{report['policy']}: {agent}, trained on {usage['conversations']} conversations in"
            f" {usage['deployments']} deployments",
            *_rates(report),
            *(f"note: {note}" for note in report["notes"]),
            f"how well it sells: convgym evaluate {report['policy']}{there}",
        ],
        as_json=as_json,
    )


def _rates(report: Mapping[str, Any]) -> list[str]:
    """Return a line for each rate on the way: of the log's seller, or of the policy until then."""
    curve = report["curve"]
    # Reports of earlier versions lack it, and a log that was read is no deployment.
    if report.get("has_log", not report["usage"]["deployments"]):
        return [
            f"  of {point['episodes']:,} conversations in the log {100 * point['conversion']:.1f}%"
            " sold: that is its seller's rate, not this policy's"
            for point in curve
        ]
    return [
        f"  after {point['conversations']:>6,}: conversion {100 * point['conversion']:.1f}%"
        f" of {point['episodes']:,}"
        for point in curve
    ]
