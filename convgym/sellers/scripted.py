"""Scripted sellers: the floor, the behaviour policy that writes logs, and the ceiling.

Every seller is a function from what it has noted of the conversation to a dialogue act, which
is then put into words. A seller sees only the messages; the oracle also sees the hidden state.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from convgym.checks import check_probability
from convgym.errors import ConvgymError
from convgym.policy import Conversation
from convgym.sellers.deaf import Script, script_for
from convgym.sellers.knowledge import PHRASES, Act, Notes, Plan, SellerKnowledge
from convgym.sellers.one_by_one import OneByOne, check_shop
from convgym.shop.catalog import Catalog, Product, load_catalog
from convgym.shop.language import OBJECTIONS, TOPICS

Decide = Callable[[Notes, SellerKnowledge, random.Random, Mapping[str, Any] | None], Plan]


def _silent(
    notes: Notes, shop: SellerKnowledge, rng: random.Random, latent: Mapping[str, Any] | None
) -> Plan:
    return (Act("silence"),)


def _random(
    notes: Notes, shop: SellerKnowledge, rng: random.Random, latent: Mapping[str, Any] | None
) -> Plan:
    kind = rng.choice(list(PHRASES))
    return (Act(kind, rng.choice(shop.catalog.products) if kind == "recommend" else None),)


def _always_closing(
    notes: Notes, shop: SellerKnowledge, rng: random.Random, latent: Mapping[str, Any] | None
) -> Plan:
    if notes.product is None:
        return (Act("recommend", rng.choice(shop.catalog.products)),)
    return (Act("close"),)


def _competent(
    notes: Notes, shop: SellerKnowledge, rng: random.Random, latent: Mapping[str, Any] | None
) -> Plan:
    topics = notes.unknown_topics()
    if topics:
        return (Act(f"ask_{topics[0]}"),)
    if notes.product is not shop.best(notes):
        return (Act("recommend", shop.best(notes)),)
    if notes.worry:
        return (Act(f"answer_{notes.worry}"),)
    if notes.refused:
        return (Act("ask_concern"),)
    return (Act("close"),)


def _oracle(
    notes: Notes, shop: SellerKnowledge, rng: random.Random, latent: Mapping[str, Any] | None
) -> Plan:
    if latent is None or "patience_left" not in latent:
        raise ConvgymError(
            "the oracle needs the hidden state of a scripted customer: make the environment with"
            " reveal_latent=True"
        )
    best = shop.best(Notes(latent["need"], latent["feature"], latent["budget"]))
    offered = latent["product"] == best.name
    turns_left = math.ceil(latent["patience_left"])
    hidden = [topic for topic in TOPICS if topic not in latent["disclosed"]]
    if hidden and turns_left > 2:
        return (Act(f"ask_{hidden[0]}"),)
    # A worry answered before it is spoken costs no turn: put the answers beside the offer.
    worries = [*latent["raised_objections"], *latent["unspoken_objections"]]
    answers = tuple(Act(f"answer_{worry}") for worry in worries)
    if not offered and turns_left > 1:
        return (Act("recommend", best), *answers)
    if answers and turns_left > 1:
        return answers
    return (Act("close"),)


def _deaf(
    script: Script,
    notes: Notes,
    shop: SellerKnowledge,
    rng: random.Random,
    latent: Mapping[str, Any] | None,
) -> Plan:
    return tuple(
        Act(kind, shop.catalog.product(product) if product else None)
        for kind, product in script.acts(notes.turns)
    )


def _mediocre(
    epsilon: float,
    notes: Notes,
    shop: SellerKnowledge,
    rng: random.Random,
    latent: Mapping[str, Any] | None,
) -> Plan:
    """Knows the flow but is sloppy: skips questions, mishears, answers beside the point."""
    if rng.random() < epsilon:
        return _random(notes, shop, rng, latent)
    topics = notes.unknown_topics()
    if notes.product is None or (notes.refused and rng.random() < 0.3):
        if topics and rng.random() < 0.85:
            return (Act(f"ask_{rng.choice(topics)}"),)
        good = rng.random() < 0.85
        return (Act("recommend", shop.best(notes) if good else rng.choice(shop.catalog.products)),)
    if notes.worry and rng.random() < 0.9:
        right = rng.random() < 0.65
        return (Act(f"answer_{notes.worry if right else rng.choice(OBJECTIONS)}"),)
    return (
        Act(rng.choices(("close", "ask_concern", "push", "chat"), (0.75, 0.15, 0.05, 0.05))[0]),
    )


class Careless(SellerKnowledge):
    """Knowledge of what is sold, but not of what suits whom."""

    def best(self, notes: Notes) -> Product:
        """Return some product, the same one for equal wishes."""
        wishes = f"{notes.need}/{notes.feature}/{notes.budget}"
        return random.Random(wishes).choice(self.catalog.products)


class ScriptedSeller(OneByOne):
    """A policy that decides by rule."""

    def __init__(self, name: str, decide: Decide, shop: SellerKnowledge) -> None:
        super().__init__(name)
        self._decide, self._shop = decide, shop

    def _answer(self, conversation: Conversation) -> str:
        if self._decide is _oracle:
            check_shop(conversation, self._shop.catalog)
        notes = self._shop.note(conversation.messages)
        plan = self._decide(notes, self._shop, conversation.rng, conversation.latent)
        return self._shop.say(plan, conversation.rng)


def _reference(
    name: str,
    decide: Decide,
    catalog: str | Path | Catalog = "laptops",
    phrases: Mapping[str, tuple[str, ...]] | None = None,
    knowledge: type[SellerKnowledge] = SellerKnowledge,
) -> ScriptedSeller:
    return ScriptedSeller(name, decide, knowledge(load_catalog(catalog), phrases))


def mediocre(
    catalog: str | Path | Catalog = "laptops",
    epsilon: float = 0.1,
    phrases: Mapping[str, tuple[str, ...]] | None = None,
) -> ScriptedSeller:
    """Return the seller whose conversations logs are made of, sloppy and sometimes random.

    Args:
        catalog: what it sells; must be the customers' catalogue.
        epsilon: share of random acts.
        phrases: what it says in place of ``PHRASES``, by kind of act.

    Raises:
        ConvgymError: for an epsilon outside [0, 1].
    """
    epsilon = check_probability("epsilon", epsilon)
    return _reference("mediocre", partial(_mediocre, epsilon), catalog, phrases)


def deaf(
    catalog: str | Path | Catalog = "laptops",
    phrases: Mapping[str, tuple[str, ...]] | None = None,
    script: Script | None = None,
) -> ScriptedSeller:
    """Return the seller that keeps to a script, whatever customers say (``convgym.sellers.deaf``).

    Args:
        catalog: what it sells; must be the customers' catalogue.
        phrases: what it says in place of ``PHRASES``, by kind of act.
        script: what it says turn by turn; None is the shop's best.

    Raises:
        ConvgymError: if the shop lacks a product of the script.
    """
    shop = load_catalog(catalog)
    script = script or script_for(shop)
    for product in script.products:
        shop.product(product)
    return _reference("deaf", partial(_deaf, script), shop, phrases)


# The others take the catalogue and the phrases alone.
silent = partial(_reference, "silent", _silent)
random_acts = partial(_reference, "random", _random)
always_closing = partial(_reference, "always-closing", _always_closing)
careless = partial(_reference, "careless", _competent, knowledge=Careless)
competent = partial(_reference, "competent", _competent)
oracle = partial(_reference, "oracle", _oracle)
