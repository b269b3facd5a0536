"""``convgym logs``: write, check, import and export logs of conversations."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from convgym.benchmarks.cli.exchange import export, import_
from convgym.benchmarks.cli.options import (
    Catalog,
    Customer,
    CustomerOptions,
    Seed,
    Seller,
    environment,
    shop,
)
from convgym.benchmarks.terminal import say
from convgym.errors import InfrastructureError

_LINES = 20
"""Damaged lines of a log that are shown."""


def register(app: typer.Typer) -> None:
    """Add the group of commands."""
    group = typer.Typer(
        help="Write, check, import and export logs of conversations.", no_args_is_help=True
    )
    group.command("write")(write)
    group.command("validate")(validate)
    group.command("import")(import_)
    group.command("export")(export)
    app.add_typer(group, name="logs")


def write(
    path: Annotated[Path, typer.Argument(help="JSONL file to write; never overwritten.")],
    seller: Seller = "mediocre",
    epsilon: Annotated[
        float | None,
        typer.Option(help="Share of random acts of the mediocre seller.", show_default="0.1"),
    ] = None,
    conversations: Annotated[int, typer.Option(min=1)] = 1000,
    seed: Seed = 0,
    customer: Customer = None,
    customer_option: CustomerOptions = None,
    catalog: Catalog = None,
) -> None:
    """Write conversations of a seller, ours or your own, with customers of the training range."""
    from convgym.datafiles import check_new_file
    from convgym.logs import write_log
    from convgym.rollout import rollout
    from convgym.seeds import train_seeds
    from convgym.sellers import make_seller
    from convgym.shop.catalog import refuse_held_out

    options = environment(customer, catalog, customer_option=customer_option)
    refuse_held_out(options)  # logs are what behaviour cloning learns from
    given = {} if epsilon is None else {"epsilon": epsilon}
    policy = make_seller(seller, **{**shop(options), **given})
    if seller == "oracle":
        options["reveal_latent"] = True
    check_new_file(path)
    episodes = rollout(
        policy, train_seeds(seed, conversations), policy_seed=seed, environment=options
    )
    write_log(path, episodes)
    sold = sum(episode.converted for episode in episodes)
    failed = sum(not episode.valid for episode in episodes)
    failures = f", {failed} broken off: the customer failed" if failed else ""
    say(f"wrote {len(episodes)} conversations to {path}, {sold} of them sales{failures}")
    if failed == len(episodes):
        raise InfrastructureError("the customer failed in every conversation")


def validate(path: Annotated[Path, typer.Argument(help="JSONL file to check.")]) -> None:
    """Check a log line by line and sum it up; exit code 2 if any line is damaged."""
    from convgym.logs import read_log, validate_log

    report = validate_log(path)
    for problem in report.problems[:_LINES]:
        say(f"line {problem.line}: {problem.message}")
    if len(report.problems) > _LINES:
        say(f"... and {len(report.problems) - _LINES} more lines")
    outcomes = [f"{count} {name.replace('_', ' ')}" for name, count in report.outcomes.items()]
    say(f"{path}: {report.n} whole conversations ({', '.join(outcomes) or 'none'})")
    read_log(path)  # knows which problems are errors: not a last line that was cut off
