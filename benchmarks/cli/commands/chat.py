"""``convgym chat``: one conversation at the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from convgym.benchmarks.cli.examples import examples
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
    environment,
    findable,
    placed,
    seller_options,
    shop,
)
from convgym.errors import ConvgymError, InfrastructureError, whose

if TYPE_CHECKING:
    from convgym.agents.pipeline.opinion import Opinion
    from convgym.conversation import Episode
    from convgym.policy import Policy


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(
        epilog=examples(
            "convgym chat",
            "convgym chat --seller competent --customer human",
            "convgym chat --seed 7 --save mine.jsonl",
            "convgym chat --q q --policy default",
            "convgym chat --seller trained/policy --seller-option temperature=0.5",
        )
    )(chat)


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
    q: Annotated[
        Path | None, typer.Option("--q", help="A folder from convgym fit-q, for /q TEXT.")
    ] = None,
    policy: Annotated[
        str | None,
        typer.Option(help="The policy that Q is of.", show_default="the one in its report"),
    ] = None,
    save: Annotated[
        Path | None, typer.Option(help="JSONL file for the conversation; never overwritten.")
    ] = None,
    device: Device = None,
    dtype: Dtype = None,
) -> None:
    """Hold one conversation: sell to a customer yourself, be the customer, or watch two others.

    While you sell, /help names what else you can type: for a hint, say, or for what Q makes of your
    words. At the end you are told what the customer kept to itself. The same seed brings the same
    customer again.
    """
    from convgym.benchmarks.cli.seat import Watched, edit_lines, tell
    from convgym.logs import check_new_log, write_log
    from convgym.terminal import QuitError

    options = environment(customer, catalog, personas, customer_option)
    if seller == customer == "human":
        raise ConvgymError("seller and customer cannot both be you: give --seller competent, say")
    if save is not None:
        check_new_log(save)
    seller = _named(seller)
    given = placed(seller, seller_options(seller_option, seller_prompt), device, dtype)
    voice = _voice(seller, options, given, _opinion(q, policy, seller))
    watched = Watched(voice, sees_latent=seller == "oracle")
    takes_part = "human" in (seller, customer)
    if takes_part:
        edit_lines()
        tell(_header(seller, customer, options, seed))
        if customer == "human":
            options["customer_options"] = {**options.get("customer_options", {}), "show": tell}
    options["reveal_latent"] = True
    try:
        with whose(f"seller {seller!r} with customer {customer or 'scripted'!r}"):
            episode = _held(watched, seed, options)
    except QuitError:
        tell(f"(you left; --seed {seed} brings the same customer again)")
        return
    begun = [] if takes_part else [_header(seller, customer, options, seed)]
    tell("\n".join([*begun, _end(episode, watched.latent, options, seller, customer)]))
    if save is not None:
        write_log(save, [episode])
        tell(f"saved to {save}")


def _held(policy: Policy, seed: int, environment: Mapping[str, Any]) -> Episode:
    """Return a conversation that was held; InfrastructureError if a backend failed in it."""
    from convgym.conversation import FAILURES
    from convgym.rollout import rollout

    (episode,) = rollout(policy, [seed], policy_seed=seed, environment=environment)
    if not episode.valid:
        failure = episode.metadata["failure"]
        raise InfrastructureError(f"{FAILURES[episode.outcome]} failed: {failure}")
    return episode


def _header(seller: str, customer: str | None, options: Mapping[str, Any], seed: int) -> str:
    from convgym.customers import customer_law
    from convgym.shop.catalog import load_catalog
    from convgym.shop.terms import briefing_under

    catalog = load_catalog(options.get("catalog", "laptops"))
    sells, buys = ("you" if name == "human" else name for name in (seller, customer or "scripted"))
    lines = [
        f"seller    {sells}",
        f"customer  {buys}, seed {seed}",
        f"shop      {catalog.name}",
        f"goal      a purchase, within {_max_turns(options)} turns",
    ]
    if seller == "human":
        told = briefing_under(customer_law(options), catalog)
        lines += ["", told, "", "/help names what else you can type: /hint, say."]
    return "\n".join([*lines, ""])


def _end(
    episode: Episode,
    latent: Mapping[str, Any],
    options: Mapping[str, Any],
    seller: str,
    customer: str | None,
) -> str:
    """Return what was not shown yet, and what nobody knew before."""
    from convgym.benchmarks.cli.hindsight import hindsight
    from convgym.conversation import render
    from convgym.shop.catalog import load_catalog

    ending = f"({episode.outcome.replace('_', ' ')})"
    if customer == "human":  # who has read it all, and knows why
        return ending
    messages = episode.messages()
    shown = render(messages[-1:] if seller == "human" else messages)
    catalog = load_catalog(options.get("catalog", "laptops"))
    again = f"--seed {episode.seed} brings the same customer again"
    return "\n".join([shown, ending, "", *hindsight(episode, latent, catalog), again])


def _named(seller: str) -> str:
    """Return a seller's name; of the folder of a model ``hf:FOLDER``."""
    from convgym.benchmarks.cli.steps import is_model
    from convgym.sellers import SELLERS

    return f"hf:{seller}" if is_model(seller) and seller not in SELLERS.names() else seller


def _max_turns(options: Mapping[str, Any]) -> int:
    from convgym.envs.scenario import Scenario

    return Scenario.of(options).max_turns


def _opinion(q: Path | None, policy: str | None, seller: str) -> Opinion | None:
    if (q or policy) and seller != "human":
        raise ConvgymError("--q and --policy are for /q TEXT, of a person who sells")
    if q is None:
        if policy is not None:
            raise ConvgymError("--policy is the one that Q is of: give the folder of Q by --q")
        return None
    from convgym.agents.pipeline.opinion import Opinion

    return Opinion.of_folder(q, policy)


def _voice(
    seller: str,
    environment: Mapping[str, Any],
    options: Mapping[str, Any],
    opinion: Opinion | None,
) -> Policy:
    from convgym.benchmarks.cli.seat import commands, tell
    from convgym.sellers import make_seller
    from convgym.sellers.human import Human

    if seller == "human":
        if options:
            raise ConvgymError("you take no options: name a seller beside --seller-option")
        competent = make_seller("competent", **shop(environment))
        return Human(commands(competent, opinion), _max_turns(environment), tell)
    with whose(f"seller {seller!r}"):
        return make_seller(seller, **shop(environment), **options)
