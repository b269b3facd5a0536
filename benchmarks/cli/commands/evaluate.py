"""``convgym evaluate``: how well one policy or seller sells."""

from __future__ import annotations

from typing import Annotated

import typer

from convgym.benchmarks.cli.options import (
    AsJson,
    Catalog,
    Customer,
    CustomerOptions,
    Device,
    Dtype,
    Personas,
    Seed,
    computing,
    environment,
    findable,
)
from convgym.benchmarks.cli.steps import show, speaker, working


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(evaluate)


def evaluate(
    policy: Annotated[
        str,
        typer.Argument(
            help="The folder of a policy, default, smollm2, or a seller by name.",
            callback=findable,
        ),
    ],
    customers: Annotated[int, typer.Option(min=1, help="Customers it meets.")] = 1000,
    seed: Seed = 0,
    temperature: Annotated[
        float | None, typer.Option(help="Of a policy.", show_default="1.0")
    ] = None,
    customer: Customer = None,
    customer_option: CustomerOptions = None,
    catalog: Catalog = None,
    personas: Personas = None,
    device: Device = None,
    dtype: Dtype = None,
    as_json: AsJson = False,
) -> None:
    """Have a policy or a seller meet customers that no training meets, and say what it sold.

    Equal seeds meet the same customers, those of convgym bench with this seed.
    """
    from convgym.benchmarks.runs.single import judge_one

    options = environment(customer, catalog, personas, customer_option)
    settings = computing(device, dtype)
    if temperature is not None:
        settings["temperature"] = temperature
    judged = speaker(policy, options, settings)
    if policy == "oracle":
        options["reveal_latent"] = True
    with working() as progress:
        report = judge_one(judged, customers, seed=seed, environment=options, progress=progress)
    report["temperature"] = temperature
    conversion, failed = report["conversion"], report["failed"]
    show(
        report,
        [
            f"{policy}: conversion {100 * conversion['value']:.1f}%"
            f" [{100 * conversion['low']:.1f}, {100 * conversion['high']:.1f}],"
            f" {report['sales']} of {report['conversations']}",
            f"  {report['mean_turns']:.1f} turns a conversation",
            f"  {failed} more were broken off: the customer failed" if failed else "",
            f"  evaluation range, seed {seed}, first {customers} customers: {report['customer']}",
        ],
        as_json=as_json,
    )
