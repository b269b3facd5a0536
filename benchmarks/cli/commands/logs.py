"""``convgym logs``: write, check, import and export logs of conversations."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from convgym.benchmarks.cli.examples import examples
from convgym.benchmarks.cli.exchange import export, import_, prompts
from convgym.benchmarks.cli.options import (
    Catalog,
    Customer,
    CustomerOptions,
    Seed,
    Seller,
    SellerOptions,
    SellerPrompt,
    environment,
    seller_options,
)
from convgym.benchmarks.terminal import say
from convgym.errors import whose

_LINES = 20
"""Damaged lines of a log that are shown."""

_WRITE = examples(
    "convgym logs write log.jsonl --seller mediocre --conversations 2000",
    "convgym logs write log.jsonl --seller openai:gpt-4o-mini --conversations 50",
)
_PROMPTS = examples("convgym logs prompts log.jsonl prompts.parquet")
_IMPORT = examples(
    "convgym logs import chats.csv log.jsonl --outcome bought --outcome-value yes=purchase",
    "convgym logs import chats.json log.jsonl --outcome-rule last-customer:order --missing lost",
)
_EXPORT = examples(
    "convgym logs export log.jsonl chats.csv",
    "convgym logs export log.jsonl chats.jsonl --format openai",
)


def register(app: typer.Typer) -> None:
    """Add the group of commands."""
    group = typer.Typer(
        help="Write, check, import and export logs of conversations.",
        no_args_is_help=True,
        epilog=examples("convgym logs write log.jsonl", "convgym logs validate log.jsonl"),
    )
    group.command("write", epilog=_WRITE)(write)
    group.command("validate", epilog=examples("convgym logs validate log.jsonl"))(validate)
    group.command("import", epilog=_IMPORT)(import_)
    group.command("export", epilog=_EXPORT)(export)
    group.command("prompts", epilog=_PROMPTS)(prompts)
    app.add_typer(group, name="logs")


def write(
    path: Annotated[Path, typer.Argument(help="JSONL file to write; never overwritten.")],
    seller: Seller = "mediocre",
    seller_option: SellerOptions = None,
    seller_prompt: SellerPrompt = None,
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
    from convgym.benchmarks.talks.scene import Scene
    from convgym.conversation import refuse_if_all_failed, tell_failures
    from convgym.datafiles import free_path
    from convgym.logs import check_new_log, write_log
    from convgym.rollout import rollout
    from convgym.seeds import train_seeds
    from convgym.shop.catalog import refuse_held_out

    options = environment(customer, catalog, customer_option=customer_option)
    refuse_held_out(options)  # logs are what behaviour cloning learns from
    given = seller_options(seller_option, seller_prompt)
    if epsilon is not None:
        given["epsilon"] = epsilon
    with whose(f"seller {seller!r}"):
        policy = Scene(options).seller(seller, given)
    if seller == "oracle":
        options["reveal_latent"] = True
    check_new_log(path)
    seeds = train_seeds(seed, conversations)
    with whose(f"seller {seller!r} with customer {customer or 'scripted'!r}"):
        episodes = rollout(policy, seeds, policy_seed=seed, environment=options)
    kept = free_path(path)  # another may have written there meanwhile: nothing is lost
    write_log(kept, episodes)
    sold = sum(episode.converted for episode in episodes)
    told = [f"wrote {len(episodes)} conversations to {kept}", f"{sold} of them sales"]
    say(", ".join(filter(None, [*told, tell_failures(episode.outcome for episode in episodes)])))
    refuse_if_all_failed(episodes)


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
