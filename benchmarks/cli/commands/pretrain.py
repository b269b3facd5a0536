"""``convgym pretrain``: make the small seller, the one that reads its shop, or a customer."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from convgym.agents.launcher import launched, launched_number
from convgym.benchmarks.cli.examples import examples
from convgym.benchmarks.cli.options import Catalog, Customer, Seed, environment
from convgym.benchmarks.cli.steps import working
from convgym.benchmarks.terminal import say
from convgym.errors import ConvgymError
from convgym.progress import ProgressCallback


class Kind(StrEnum):
    """What can be made."""

    SMALL = "small"
    READING = "reading"
    CUSTOMER = "customer"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(
        epilog=examples(
            "convgym pretrain my-seller --conversations 2000",
            "convgym pretrain my-reader --kind reading",
            "convgym pretrain my-customer --kind customer",
            "convgym pretrain my-shopper --kind customer --base smollm2",
        )
    )(pretrain)


def pretrain(
    output: Annotated[Path, typer.Argument(help="Folder for the model; never overwritten.")],
    kind: Annotated[
        Kind,
        typer.Option(
            help="The small seller, one that reads the leaflet of any shop, or a customer that"
            " imitates another."
        ),
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
    base: Annotated[
        str | None,
        typer.Option(
            help="Chat model that becomes the customer by adapters: smollm2, or a folder. Without"
            " it, a model from scratch."
        ),
    ] = None,
) -> None:
    """Train a language model on conversations of scripted sellers and customers.

    The small seller learns one shop by heart. The reading seller learns to look things up.
    The customer learns what --customer says and decides (scripted; with --base, shopper). The
    trainings of the last two go on where they were interrupted.
    """
    from convgym.agents import pretrain_customer, pretrain_reading
    from convgym.datafiles import check_new_folder

    if launched() > 1 and kind is not Kind.CUSTOMER:
        raise ConvgymError(
            f"several processes share --kind customer alone: start --kind {kind} as one process"
        )
    _refuse_what_it_does_not_take(kind, conversations, seller, customer, catalog, base)
    unfinished = {
        Kind.READING: pretrain_reading.UNFINISHED,
        Kind.CUSTOMER: pretrain_customer.UNFINISHED,
    }
    if not (kind in unfinished and (output / unfinished[kind]).exists()):
        check_new_folder(output)
    with working(output, resumes=kind in unfinished) as progress:
        if kind is Kind.READING:
            recipe = pretrain_reading.pretrain_reading(output, seed=seed, progress=progress)
        elif kind is Kind.CUSTOMER:
            recipe = _customer(output, customer, catalog, base, seed, progress)
        else:
            recipe = _small(output, conversations, seller, seed, customer, catalog, progress)
    if launched_number():
        return
    say(f"wrote {recipe['parameters']:,} parameters to {output}; its recipe is in recipe.json")
    if kind is Kind.CUSTOMER:
        name = "smollm2-customer" if base else "learned"
        say(f"talk to it: convgym chat --customer {name} --customer-option model={output}")
    else:
        say(f"how well it sells: convgym evaluate {output}")
        say(f"train it further: convgym train iterative-ppo --policy {output} --output trained")


def _customer(
    output: Path,
    customer: str | None,
    catalog: str | None,
    base: str | None,
    seed: int,
    progress: ProgressCallback,
) -> dict[str, Any]:
    from convgym.agents.pretrain_adapter import pretrain_adapter
    from convgym.agents.pretrain_customer import pretrain_customer

    shop = catalog or "laptops"
    if base is None:
        original = customer or "scripted"
        return pretrain_customer(
            output, customer=original, catalog=shop, seed=seed, progress=progress
        )
    original = customer or "shopper"
    return pretrain_adapter(
        output, base=base, customer=original, catalog=shop, seed=seed, progress=progress
    )


def _small(
    output: Path,
    conversations: int | None,
    seller: str | None,
    seed: int,
    customer: str | None,
    catalog: str | None,
    progress: ProgressCallback,
) -> dict[str, Any]:
    from convgym.agents.pretrain import pretrain as train

    return train(
        output,
        conversations=8000 if conversations is None else conversations,
        seed=seed,
        environment=environment(customer, catalog),
        seller=seller or "mediocre",
        progress=progress,
    )


def _refuse_what_it_does_not_take(
    kind: Kind,
    conversations: int | None,
    seller: str | None,
    customer: str | None,
    catalog: str | None,
    base: str | None,
) -> None:
    """Raise ConvgymError for options that the making of this kind does not look at."""
    if kind is not Kind.CUSTOMER and base is not None:
        raise ConvgymError("sellers are trained from scratch: drop --base, or --kind customer")
    if kind is Kind.READING and any((conversations, seller, customer, catalog)):
        raise ConvgymError(
            "the reading seller is trained in shops and on customers of its own: drop"
            " --conversations, --seller, --customer and --catalog"
        )
    if kind is Kind.CUSTOMER and any((conversations, seller)):
        raise ConvgymError(
            "a customer is fitted to conversations of its own with sellers of all kinds: drop"
            " --conversations and --seller"
        )
