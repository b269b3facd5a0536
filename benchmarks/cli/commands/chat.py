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
)
from convgym.errors import ConvgymError, whose

if TYPE_CHECKING:
    from convgym.benchmarks.talks.scene import Scene
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
    from convgym.benchmarks.cli.seat import edit_lines, seller_name, tell
    from convgym.benchmarks.talks.scene import Scene
    from convgym.logs import check_new_log, write_log
    from convgym.terminal import QuitError

    options = environment(customer, catalog, personas, customer_option)
    if seller == customer == "human":
        raise ConvgymError("seller and customer cannot both be you: give --seller competent, say")
    if save is not None:
        check_new_log(save)
    seller = seller_name(seller)
    given = placed(seller, seller_options(seller_option, seller_prompt), device, dtype)
    voice = _voice(seller, Scene(options), given, q, policy)
    if customer == "human":
        options["customer_options"] = {**options.get("customer_options", {}), "show": tell}
    scene = Scene(options)
    takes_part = "human" in (seller, customer)
    if takes_part:
        edit_lines()
        tell(_header(seller, scene, seed))
    try:
        with whose(f"seller {seller!r} with customer {scene.customer!r}"):
            episode, latent = _held(voice, seller, scene, seed)
    except QuitError:
        tell(f"(you left; --seed {seed} brings the same customer again)")
        return
    begun = [] if takes_part else [_header(seller, scene, seed)]
    tell("\n".join([*begun, _end(episode, latent, scene, seller)]))
    if save is not None:
        write_log(save, [episode])
        tell(f"saved to {save}")


def _held(
    policy: Policy, seller: str, scene: Scene, seed: int
) -> tuple[Episode, Mapping[str, Any]]:
    """Return a conversation that was held, and the customer's hidden state at its end.

    Raises InfrastructureError if a backend failed in it.
    """
    from convgym.benchmarks.talks.scene import check_whole

    policy.reset(seed)
    with scene.talk(seed, seller) as talk:
        while talk.outcome is None:
            talk.step(policy)
        check_whole(talk)
        return talk.episode(policy.name), dict(talk.latent)


def _header(seller: str, scene: Scene, seed: int) -> str:
    sells, buys = ("you" if name == "human" else name for name in (seller, scene.customer))
    lines = [
        f"seller    {sells}",
        f"customer  {buys}, seed {seed}",
        f"shop      {scene.catalog.name}",
        f"goal      {scene.goal}",
    ]
    if seller == "human":
        lines += ["", scene.briefing, "", "/help names what else you can type: /hint, say."]
    return "\n".join([*lines, ""])


def _end(episode: Episode, latent: Mapping[str, Any], scene: Scene, seller: str) -> str:
    """Return what was not shown yet, and what nobody knew before."""
    from convgym.benchmarks.talks.hindsight import hindsight
    from convgym.conversation import render

    ending = f"({episode.outcome.replace('_', ' ')})"
    if scene.customer == "human":  # who has read it all, and knows why
        return ending
    is_yours = seller == "human"
    shown = render(episode.messages()[-1:] if is_yours else episode.messages())
    why, *facts = hindsight(
        episode, latent, scene.catalog, seller="you" if is_yours else "the seller"
    )
    again = f"--seed {episode.seed} brings the same customer again"
    told = [f"{': '.join(why)}", *(f"  {': '.join(fact)}" for fact in facts)]
    return "\n".join([shown, ending, "", *told, again])


def _voice(
    seller: str, scene: Scene, options: Mapping[str, Any], q: Path | None, of: str | None
) -> Policy:
    """Return who sells: a person with the commands of one, or a policy."""
    from convgym.benchmarks.cli.seat import adviser_of, commands, tell
    from convgym.sellers.human import Human

    if seller != "human":
        if q or of:
            raise ConvgymError("--q and --policy are for /q TEXT, of a person who sells")
        with whose(f"seller {seller!r}"):
            return scene.seller(seller, options)
    adviser = adviser_of(q, of)
    if options:
        raise ConvgymError("you take no options: name a seller beside --seller-option")
    return Human(commands(scene.seller("competent"), adviser), scene.max_turns, tell)
