"""``convgym pretrain``: make the small seller."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from convgym.benchmarks.cli.options import Catalog, Customer, Seed, environment
from convgym.benchmarks.terminal import console, say


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(pretrain)


def pretrain(
    output: Annotated[Path, typer.Argument(help="Folder for the model; never overwritten.")],
    conversations: Annotated[int, typer.Option(min=20, help="Logged conversations.")] = 8000,
    seed: Seed = 0,
    customer: Customer = None,
    catalog: Catalog = None,
) -> None:
    """Train the small seller, a language model, from scratch on the mediocre seller's logs."""
    from convgym.agents.pretrain import pretrain as train
    from convgym.benchmarks.report.progress import stages
    from convgym.datafiles import check_new_folder

    check_new_folder(output)
    with stages(console(error=True)) as progress:
        recipe = train(
            output,
            conversations=conversations,
            seed=seed,
            environment=environment(customer, catalog),
            progress=progress,
        )
    say(f"wrote {recipe['parameters']:,} parameters to {output}; its recipe is in recipe.json")
