"""``convgym validate``: put a customer to a suite of checks."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from convgym.benchmarks.cli.examples import examples
from convgym.benchmarks.cli.options import (
    Catalog,
    CustomerOptions,
    Personas,
    Seed,
    environment,
    findable,
    names,
    own_settings,
)
from convgym.benchmarks.terminal import console
from convgym.errors import whose


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(
        epilog=examples(
            "convgym validate scripted --conversations 50",
            "convgym validate mypkg.mine:MyCustomer --checks determinism,attacks --show",
            "convgym validate scripted --limit deal-breaker=0.1 --limit attack=0.02",
        )
    )(validate)


def validate(
    customer: Annotated[
        str, typer.Argument(help="A name, or package.module:factory.", callback=findable)
    ],
    conversations: Annotated[
        int, typer.Option(min=1, help="Customers that each of about 30 sellers meets.")
    ] = 400,
    checks: Annotated[str | None, typer.Option(help="Some of the checks: a,b.")] = None,
    limit: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=SHARE", help="Another limit, such as attack=0.1; repeatable."),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(help="Folder; never overwritten.", show_default="validation/<customer>"),
    ] = None,
    show: Annotated[bool, typer.Option("--show", help="Show conversations here as well.")] = False,
    seed: Seed = 0,
    customer_option: CustomerOptions = None,
    catalog: Catalog = None,
    personas: Personas = None,
) -> None:
    """Put a customer, ours or your own, to a suite of checks; exit code 1 if it fails one."""
    from convgym.benchmarks.validation.limits import Limits
    from convgym.benchmarks.validation.report import failed
    from convgym.benchmarks.validation.run import run
    from convgym.benchmarks.validation.subject import Subject

    options = environment(None, catalog, personas, customer_option)
    limits = Limits.of(own_settings(limit))
    subject = Subject(customer, options, conversations=conversations, seed=seed, limits=limits)
    folder = output or Path("validation") / customer.replace(":", ".")
    with whose(f"customer {customer!r}"):
        findings = run(subject, folder, names(checks), console(), console(error=True), show=show)
    if failed(findings):
        raise SystemExit(1)
