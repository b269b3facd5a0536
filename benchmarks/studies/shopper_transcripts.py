"""Twenty conversations with shoppers, as the page of documentation that shows them.

    convgym study shopper-transcripts FILE.md

Training customers of every shop and of both populations, with the three sellers in turn.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from convgym.benchmarks.studies.study import show
from convgym.conversation import Episode, render
from convgym.customers.shopper.customer import ShopperCustomer
from convgym.datafiles import check_new_file, write_atomically
from convgym.rollout import rollout
from convgym.seeds import train_seeds
from convgym.sellers import make_seller
from convgym.shop.catalog import catalog_names

SEED, CONVERSATIONS = 3, 20
SELLERS = ("mediocre", "competent", "oracle")
HEAD = """# Conversations with shoppers

Twenty conversations of `convgym/Sales-v1` with training customers: three reference sellers, four
shops and two populations in turn, none of them chosen. Written by
`convgym study shopper-transcripts FILE.md`; who shoppers are is told in [shopper.md](shopper.md).
"""
ENDS = {"purchase": "sold", "walk_away": "walked away", "turn_limit": "the limit of turns"}


def hold(number: int) -> tuple[str, dict[str, Any], Episode]:
    """Return a conversation by its number, with its seller and its environment."""
    seller = SELLERS[number % len(SELLERS)]
    shops = catalog_names()
    environment = {
        "customer": "shopper",
        "catalog": shops[number % len(shops)],
        "personas": "difficult" if number % 5 == 4 else "default",
        "reveal_latent": seller == "oracle",
    }
    seed = train_seeds(SEED, CONVERSATIONS)[number]
    policy = make_seller(seller, str(environment["catalog"]), "v1")
    (episode,) = rollout(policy, [seed], environment=environment)
    return seller, environment, episode


def section(number: int) -> str:
    """Return a conversation as a section of the page, with who the shopper was."""
    seller, environment, episode = hold(number)
    customer = ShopperCustomer(environment["catalog"], personas=environment["personas"])
    customer.reset(episode.seed)
    who = customer.profile
    reasons, questions = ", ".join(who.objections) or "none", ", ".join(who.questions) or "none"
    return (
        f"## {number + 1}. {seller.capitalize()}, `{environment['catalog']}`:"
        f" {ENDS[episode.outcome]}\n\n"
        f"{who.persona.capitalize()}, {who.mood}; {who.need} with {who.feature}, budget"
        f" {who.budget} (says {who.low} to {who.high}); reasons: {reasons}; questions: {questions}."
        f"\n\n```text\n{render(episode.messages())}\n```\n"
    )


def page() -> str:
    """Return the page."""
    return "\n".join([HEAD, *map(section, range(CONVERSATIONS))])


def main(output: Annotated[Path, typer.Argument(help="New file.")]) -> None:
    """Write twenty conversations with shoppers."""
    check_new_file(output)
    write_atomically(output, page())
    show(f"{CONVERSATIONS} conversations are in {output}")
