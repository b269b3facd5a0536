"""``convgym pretrain``: make the small seller, or the one that reads its shop."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from convgym.benchmarks.cli.examples import examples
from convgym.benchmarks.cli.options import Catalog, Customer, Seed, environment
from convgym.benchmarks.terminal import console, say
from convgym.errors import ConvgymError


class Kind(StrEnum):
    """What can be made."""

    SMALL = "small"
    READING = "reading"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(
        epilog=examples(
            "convgym pretrain my-seller --conversations 2000",
            "convgym pretrain my-reader --kind reading",
        )
    )(pretrain)


def pretrain(
    output: Annotated[Path, typer.Argument(help="Folder for the model; never overwritten.")],
    kind: Annotated[
        Kind, typer.Option(help="The small seller, or one that reads the leaflet of any shop.")
    ] = Kind.SMALL,
    conversations: Annotated[
        int | None, typer.Option(min=20, help="Logged conversations of the small seller: 8000.")
    ] = None,
    seller: Annotated[
        str | None, typer.Option(help="Scripted seller that it learns from: mediocre.")
    ] = None,
    seed: Seed = 0,
    customer: Customer = None,
    catalog: Catalog = None,
) -> None:
    """Train a seller, a language model, from scratch on logs of scripted ones.

    The small seller learns one shop by heart. The reading seller learns to look things up in any;
    its training goes on where it was interrupted.
    """
    from convgym.agents.pretrain import pretrain as train
    from convgym.agents.pretrain_reading import UNFINISHED, pretrain_reading
    from convgym.benchmarks.report.progress import stages
    from convgym.datafiles import check_new_folder

    if kind is Kind.READING and any((conversations, seller, customer, catalog)):
        raise ConvgymError(
            "the reading seller is trained in shops and on customers of its own: drop"
            " --conversations, --seller, --customer and --catalog"
        )
    if not (kind is Kind.READING and (output / UNFINISHED).exists()):
        check_new_folder(output)
    with stages(console(error=True)) as progress:
        if kind is Kind.READING:
            recipe = pretrain_reading(output, seed=seed, progress=progress)
        else:
            recipe = train(
                output,
                conversations=8000 if conversations is None else conversations,
                seed=seed,
                environment=environment(customer, catalog),
                seller=seller or "mediocre",
                progress=progress,
            )
    say(f"wrote {recipe['parameters']:,} parameters to {output}; its recipe is in recipe.json")
    say(f"how well it sells: convgym evaluate {output}")
    say(f"train it further: convgym train iterative-ppo --policy {output} --output trained")
