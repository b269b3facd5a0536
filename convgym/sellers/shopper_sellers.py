"""The reference sellers of ``convgym/Sales-v1``: the floor, who writes logs, and the ceiling.

Every seller is a function from what it has noted of the conversation to dialogue acts, which are
then put into words. A seller sees only the messages; the oracle also sees the hidden state.
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
from convgym.sellers.listening import PHRASES, Act, Notes, Plan, ShopperKnowledge
from convgym.sellers.one_by_one import OneByOne, check_shop
from convgym.shop.catalog import Catalog, Product, load_catalog
from convgym.shop.language import TOPICS
from convgym.shop.terms import MOST_DISCOUNT

Latent = Mapping[str, Any] | None
Decide = Callable[[Notes, ShopperKnowledge, random.Random, Latent], Plan]

MOST_PERCENT = round(100 * MOST_DISCOUNT)
_REMEDIES = ("price", "instalments", "warranty", "delivery", "reviews", "partner", "rival")


def _silent(notes: Notes, shop: ShopperKnowledge, rng: random.Random, latent: Latent) -> Plan:
    return (Act("silence"),)


def _random(notes: Notes, shop: ShopperKnowledge, rng: random.Random, latent: Latent) -> Plan:
    kind = rng.choice(list(PHRASES))
    return (Act(kind, rng.choice(shop.catalog.products), rng.randint(1, MOST_PERCENT)),)


def _always_closing(
    notes: Notes, shop: ShopperKnowledge, rng: random.Random, latent: Latent
) -> Plan:
    if notes.product is None:
        return (Act("recommend", rng.choice(shop.catalog.products)),)
    return (Act("close"),)


def remedy(reason: str, notes: Notes) -> Act:
    """Return the remedy for a reason: of the price first half of what may be taken off."""
    if reason != "price":
        return Act(f"answer_{reason}")
    return Act("answer_price", percent=MOST_PERCENT if notes.percent else MOST_PERCENT // 2)


def _competent(notes: Notes, shop: ShopperKnowledge, rng: random.Random, latent: Latent) -> Plan:
    if notes.question and notes.product:
        return (shop.answer(notes),)
    topics = notes.unknown_topics()
    if topics:
        return (Act(f"ask_{topics[0]}"),)
    if notes.reason and notes.product:
        return (remedy(notes.reason, notes),)
    best = shop.best(notes)
    if notes.product is None or (notes.unsuitable and notes.product is not best):
        return (Act("recommend", best),)
    if notes.refused:
        return (Act("ask_concern"),)
    return (Act("close"),)


def _oracle(notes: Notes, shop: ShopperKnowledge, rng: random.Random, latent: Latent) -> Plan:
    if latent is None or "open_question" not in latent:
        raise ConvgymError(
            "the oracle needs the hidden state of a shopper: make the environment with"
            " reveal_latent=True"
        )
    best = shop.best(Notes(latent["need"], latent["feature"], None, latent["budget"]))
    turns_left = math.ceil(latent["patience_left"])
    hidden = [topic for topic in TOPICS if topic not in latent["disclosed"]]
    if hidden and turns_left > 3:
        at_once = 2 if latent["talkativeness"] > 0.5 else 1
        return tuple(Act(f"ask_{topic}") for topic in hidden[:at_once])
    if latent["product"] != best.name:
        return (Act("recommend", best),)
    acts: list[Act] = []
    if latent["open_question"]:
        known = Notes(
            product=best,
            question=latent["open_question"],
            wish=latent["wish"],
            about=latent["asked_about"],
        )
        acts.append(shop.answer(known))
    if latent["raised_objections"]:
        reason = latent["raised_objections"][0]
        percent = min(MOST_PERCENT, math.ceil(100 * latent["haggle"]) or 1)
        acts.append(Act(f"answer_{reason}", percent=percent))
    waiting = latent["unspoken_objections"]
    if waiting and turns_left > 2:
        acts.append(Act("ask_concern"))
    else:
        acts.append(Act("close"))
    return tuple(acts)


def _mediocre(
    epsilon: float, notes: Notes, shop: ShopperKnowledge, rng: random.Random, latent: Latent
) -> Plan:
    """Knows the flow but is sloppy: skips questions, answers beside the point, gives in."""
    if rng.random() < epsilon:
        return _random(notes, shop, rng, latent)
    topics = notes.unknown_topics()
    if notes.product is None or (notes.unsuitable and rng.random() < 0.5):
        if topics and rng.random() < 0.85:
            return (Act(f"ask_{rng.choice(topics)}"),)
        good = rng.random() < 0.9
        return (Act("recommend", shop.best(notes) if good else rng.choice(shop.catalog.products)),)
    if notes.question and rng.random() < 0.8:
        return (shop.answer(notes),)
    if notes.reason and rng.random() < 0.9:
        right = rng.random() < 0.65
        return (remedy(notes.reason if right else rng.choice(_REMEDIES), notes),)
    return (
        Act(rng.choices(("close", "ask_concern", "push", "chat"), (0.75, 0.15, 0.05, 0.05))[0]),
    )


class Careless(ShopperKnowledge):
    """Knowledge of what is sold, but not of what suits whom."""

    def best(self, notes: Notes) -> Product:
        """Return some product, the same one for equal wishes."""
        wishes = f"{notes.need}/{notes.feature}/{notes.high}"
        return random.Random(wishes).choice(self.catalog.products)


class ShopperSeller(OneByOne):
    """A policy that decides by rule."""

    def __init__(
        self, name: str, decide: Decide, shop: ShopperKnowledge, careful: bool = False
    ) -> None:
        super().__init__(name)
        self._decide, self._shop, self._careful = decide, shop, careful

    def _answer(self, conversation: Conversation) -> str:
        if self._decide is _oracle:
            check_shop(conversation, self._shop.catalog)
        notes = self._shop.note(conversation.messages)
        plan = self._decide(notes, self._shop, conversation.rng, conversation.latent)
        messages = conversation.messages if self._careful else ()
        said = [message["content"] for message in messages if message["role"] == "assistant"]
        return self._shop.say(plan, conversation.rng, notes.feature, said)


def _reference(
    name: str,
    decide: Decide,
    catalog: str | Path | Catalog = "laptops",
    phrases: Mapping[str, tuple[str, ...]] | None = None,
    careful: bool = False,
    knowledge: type[ShopperKnowledge] = ShopperKnowledge,
) -> ShopperSeller:
    return ShopperSeller(name, decide, knowledge(load_catalog(catalog), phrases), careful)


def mediocre(
    catalog: str | Path | Catalog = "laptops",
    epsilon: float = 0.1,
    phrases: Mapping[str, tuple[str, ...]] | None = None,
) -> ShopperSeller:
    """Return the seller whose conversations logs are made of, sloppy and sometimes random.

    Args:
        catalog: what it sells; must be the customers' catalogue.
        epsilon: share of random acts.
        phrases: what it says in place of ``PHRASES``, by kind of act.

    Raises:
        ConvgymError: for an epsilon outside [0, 1].
    """
    epsilon = check_probability("epsilon", epsilon)
    return _reference("mediocre-v1", partial(_mediocre, epsilon), catalog, phrases)


# The others take the catalogue and the phrases alone.
random_acts = partial(_reference, "random-v1", _random)
always_closing = partial(_reference, "always-closing-v1", _always_closing)
careless = partial(_reference, "careless-v1", _competent, careful=True, knowledge=Careless)
competent = partial(_reference, "competent-v1", _competent, careful=True)
oracle = partial(_reference, "oracle-v1", _oracle, careful=True)
