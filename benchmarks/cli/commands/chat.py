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
    Personas,
    Seed,
    environment,
    findable,
    shop,
)
from convgym.benchmarks.terminal import say
from convgym.errors import ConvgymError, InfrastructureError

if TYPE_CHECKING:
    from convgym.policy import Policy


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(chat)


def chat(
    seller: Annotated[
        str,
        typer.Option(
            help="human (you), a seller by name or package.module:factory, or the folder of a"
            " trained policy.",
            callback=findable,
        ),
    ] = "human",
    seed: Seed = 0,
    customer: Customer = None,
    customer_option: CustomerOptions = None,
    catalog: Catalog = None,
    personas: Personas = None,
) -> None:
    """Hold one conversation: sell to a customer yourself, be the customer, or watch two others."""
    from convgym.conversation import render
    from convgym.rollout import rollout
    from convgym.shop.catalog import load_catalog

    options = environment(customer, catalog, personas, customer_option)
    if seller == customer == "human":
        raise ConvgymError("seller and customer cannot both be you: give --seller competent, say")
    if seller == "human":
        say(load_catalog(options.get("catalog", "laptops")).briefing() + "\n")
    if seller == "oracle":
        options["reveal_latent"] = True
    policy = _policy(seller, options)
    (episode,) = rollout(policy, [seed], policy_seed=seed, environment=options)
    if not episode.valid:
        raise InfrastructureError(f"the customer failed: {episode.metadata['failure']}")
    messages = episode.messages()
    if customer != "human":  # they have read it all
        say(render(messages[-1:] if seller == "human" else messages))
    say(f"({episode.outcome.replace('_', ' ')})")


def _policy(seller: str, options: Mapping[str, Any]) -> Policy:
    if seller == "human":
        from convgym.sellers.human import Human

        return Human()
    if Path(seller).is_dir() or len(Path(seller).parts) > 1:
        from convgym.agents.model.policy import LanguageModelPolicy

        return LanguageModelPolicy.from_pretrained(seller)
    from convgym.sellers import make_seller

    return make_seller(seller, **shop(options))
