"""``convgym chat``: one conversation at the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from convgym.benchmarks.cli.options import (
    Catalog,
    Customer,
    CustomerOptions,
    Device,
    Dtype,
    Personas,
    Seed,
    SellerOptions,
    SellerPrompt,
    computing,
    environment,
    findable,
    is_local_seller,
    seller_options,
    shop,
    with_computing,
)
from convgym.benchmarks.terminal import say
from convgym.errors import ConvgymError, InfrastructureError, whose

if TYPE_CHECKING:
    from convgym.policy import Policy


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(chat)


def chat(
    seller: Annotated[
        str,
        typer.Option(
            help="human (you), a seller by name, openai:MODEL, hf:FOLDER or the folder alone (of"
            " a trained policy, say), or package.module:factory.",
            callback=findable,
        ),
    ] = "human",
    seller_option: SellerOptions = None,
    seller_prompt: SellerPrompt = None,
    seed: Seed = 0,
    customer: Customer = None,
    customer_option: CustomerOptions = None,
    catalog: Catalog = None,
    personas: Personas = None,
    device: Device = None,
    dtype: Dtype = None,
) -> None:
    """Hold one conversation: sell to a customer yourself, be the customer, or watch two others."""
    from convgym.conversation import FAILURES, render
    from convgym.rollout import rollout
    from convgym.shop.catalog import load_catalog

    options = environment(customer, catalog, personas, customer_option)
    if seller == customer == "human":
        raise ConvgymError("seller and customer cannot both be you: give --seller competent, say")
    seller = _named(seller)
    chosen = computing(device, dtype)
    if chosen and not is_local_seller(seller):
        raise ConvgymError(f"{seller!r} computes nowhere: drop --device and --dtype")
    told = with_computing(seller_options(seller_option, seller_prompt), chosen)
    policy = _policy(seller, options, told)
    if seller == "human":
        say(load_catalog(options.get("catalog", "laptops")).briefing() + "\n")
    if seller == "oracle":
        options["reveal_latent"] = True
    with whose(f"seller {seller!r} with customer {customer or 'scripted'!r}"):
        (episode,) = rollout(policy, [seed], policy_seed=seed, environment=options)
    if not episode.valid:
        failure = episode.metadata["failure"]
        raise InfrastructureError(f"{FAILURES[episode.outcome]} failed: {failure}")
    messages = episode.messages()
    if customer != "human":  # they have read it all
        say(render(messages[-1:] if seller == "human" else messages))
    say(f"({episode.outcome.replace('_', ' ')})")


def _named(seller: str) -> str:
    """Return a seller's name; of the folder of a model ``hf:FOLDER``."""
    from convgym.sellers import SELLERS

    is_path = Path(seller).is_dir() or len(Path(seller).parts) > 1
    return f"hf:{seller}" if is_path and not SELLERS.is_of_family(seller) else seller


def _policy(seller: str, environment: Mapping[str, Any], options: Mapping[str, Any]) -> Policy:
    if seller == "human":
        if options:
            raise ConvgymError("you take no options: name a seller beside --seller-option")
        from convgym.sellers.human import Human

        return Human()
    from convgym.sellers import make_seller

    with whose(f"seller {seller!r}"):
        return make_seller(seller, **shop(environment), **options)
