"""What a customer kept to itself, and why a conversation ended as it did: told once it is over."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from convgym.conversation import Episode
from convgym.shop.catalog import Catalog

_TOPICS = ("need", "feature", "budget")

Fact = tuple[str, str]
"""What something is called, and what is to be told of it."""


def hindsight(
    episode: Episode, latent: Mapping[str, Any], catalog: Catalog, *, seller: str = "you"
) -> Iterator[Fact]:
    """Yield why an episode ended and what its customer was like.

    Args:
        episode: one that is over.
        latent: the customer's hidden state at its end (``Customer.latent``). What a customer
            other than the scripted ones shows there is told as it stands.
        catalog: the shop.
        seller: who sold, as a subject: "you".
    """
    yield "why", reason(episode, latent)
    if not {"need", "feature", "budget", "patience_left"} <= latent.keys():
        yield from ((_name(name), str(value)) for name, value in latent.items())
        return
    need, feature = latent["need"], latent["feature"]
    yield (
        f"the customer ({latent['persona']})",
        f"wants a {catalog.item} for {_name(need)}, what matters most is {_name(feature)}, budget"
        f" {catalog.currency}{latent['budget']:,}",
    )
    told = [topic for topic in _TOPICS if topic in latent["disclosed"]]
    yield f"{seller} heard of", ", ".join(told) or "nothing of it"
    worries = [
        *(f"{_name(worry)} (raised, not answered)" for worry in latent["raised_objections"]),
        *(f"{_name(worry)} (never spoken of)" for worry in latent["unspoken_objections"]),
    ]
    yield "worries left", ", ".join(worries) or "none"
    yield "mood", ", ".join(_mood(latent))
    yield "on offer", _offer(latent, catalog)


def _mood(latent: Mapping[str, Any]) -> Iterator[str]:
    """Yield what is known of it: of a customer that imitates another, patience alone."""
    yield f"patience for {max(latent['patience_left'], 0):.1f} more turns"
    if "trust_now" in latent:
        yield f"trust {latent['trust_now']:.0%}"
        yield f"annoyance {latent['annoyance']:.1f}"


def reason(episode: Episode, latent: Mapping[str, Any]) -> str:
    """Return why an episode ended, in half a sentence."""
    turns = f"{len(episode.turns)} turn{'s' * (len(episode.turns) != 1)}"
    match episode.outcome:
        case "purchase":
            what = f"bought the {latent['product']}" if latent.get("product") else "bought"
            return f"the customer {what} after {turns}"
        case "walk_away" if latent.get("patience_left", 1.0) <= 0:
            return f"the customer's patience was used up after {turns}, and it left"
        case "walk_away":
            return f"the customer left after {turns}"
        case "turn_limit":
            return f"nothing was decided in {turns}, and no conversation is longer"
    return episode.outcome.replace("_", " ")


def _offer(latent: Mapping[str, Any], catalog: Catalog) -> str:
    name = latent["product"]
    product = next((each for each in catalog.products if each.name == name), None)
    if product is None:
        return "nothing"
    fits = {
        f"for {_name(latent['need'])}": latent["need"] in product.needs,
        _name(latent["feature"]): latent["feature"] in product.features,
        "within the budget": product.price <= latent["budget"],
    }
    told = ", ".join(f"{'' if fit else 'not '}{what}" for what, fit in fits.items())
    offered = f"the {name}, {catalog.currency}{product.price:,} ({told})"
    if latent.get("utility") is None:
        return offered
    chance = 1 / (1 + math.exp(-max(min(latent["utility"], 500.0), -500.0)))
    return f"{offered}; asked for the first time now, it would buy with {chance:.0%}"


def _name(key: str) -> str:
    return key.replace("_", " ")
