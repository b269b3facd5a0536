"""``convgym ladder``: the reference sellers alone."""

from __future__ import annotations

from pathlib import Path

import typer

from convgym.benchmarks.cli.commands.bench import bench
from convgym.benchmarks.cli.examples import examples
from convgym.benchmarks.cli.options import Catalog, Customer, CustomerOptions, Personas, Seed


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(
        epilog=examples(
            "convgym ladder",
            "convgym ladder --catalog bicycles --output results/bicycles",
        )
    )(ladder)


def ladder(
    seed: Seed = 0,
    output: Path | None = None,
    customer: Customer = None,
    customer_option: CustomerOptions = None,
    catalog: Catalog = None,
    personas: Personas = None,
) -> None:
    """Measure the reference sellers alone; short for `convgym bench ladder`."""
    bench(
        "ladder",
        seed=seed,
        output=output,
        customer=customer,
        customer_option=customer_option,
        catalog=catalog,
        personas=personas,
    )
