"""Sellers of ``convgym/Sales-v1`` with habits: mediocre not by chance, each in a way of its own.

The like of ``convgym.sellers.habitual`` for shoppers. Every conversation has a seller with habits,
kept to its end. At each of these decisions most sellers do what is wrong, so that the likeliest act
is not the best one, yet the best is common enough to be found: who imitates them and says what is
likeliest has learnt their habits.

| habit | share of sellers |
|---|---|
| never asks what it is for / what matters most / for the budget | 20% / 50% / 50% |
| shows the dearest product that suits, until a refusal | 50% |
| does not answer the shopper's own questions, but praises the product | 55% |
| says yes to whatever is asked of a product | 40% of those who answer |
| gives its favourite remedy to every objection | 60% |
| takes off the most at once, unasked | 40% |
| asks for the order in the same breath as it recommends | 50% |
| after a refusal closes again and neither asks why nor shows something else | 60% |
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from convgym.checks import check_probability
from convgym.errors import ConvgymError
from convgym.policy import Conversation
from convgym.sellers.listening import Act, Notes, Plan, ShopperKnowledge
from convgym.sellers.one_by_one import OneByOne
from convgym.sellers.shopper_sellers import MOST_PERCENT, remedy
from convgym.shop.catalog import Catalog, Product, load_catalog

PRAISE = ("The {product} {claim}.", "It {claim}, you will like it.")
"""What is said in place of an answer."""
FAVOURITES = ("price", "warranty", "delivery", "reviews", "instalments")
SKIPS: Mapping[str, float] = {"need": 0.2, "feature": 0.5, "budget": 0.5}
"""Share of the sellers that never ask about a topic."""


@dataclass(frozen=True, slots=True)
class Habits:
    """What one seller does in all of a conversation; ``draw`` has the shares."""

    asks: tuple[str, ...]
    dearer: bool
    dodges: bool
    agrees: bool
    favourite: str | None
    generous: bool
    hasty: bool
    stubborn: bool

    @classmethod
    def draw(cls, rng: random.Random) -> Habits:
        """Return a seller's habits, drawn independently of each other."""
        topics = [topic for topic, share in SKIPS.items() if rng.random() >= share]
        if rng.random() < 0.3:
            rng.shuffle(topics)
        return cls(
            asks=tuple(topics),
            dearer=rng.random() < 0.5,
            dodges=rng.random() < 0.55,
            agrees=rng.random() < 0.4,
            favourite=rng.choice(FAVOURITES) if rng.random() < 0.6 else None,
            generous=rng.random() < 0.4,
            hasty=rng.random() < 0.5,
            stubborn=rng.random() < 0.6,
        )


class HabitualShopperSeller(OneByOne):
    """A seller per conversation, each with habits of its own.

    A conversation's habits follow from its seed and the policy's (``reset``), its words from the
    stream that it brings.

    Args:
        shop: what the seller knows.
        slips: share of acts that are drawn at random.
        habits: of every seller; None draws them for each.
    """

    def __init__(self, shop: ShopperKnowledge, slips: float, habits: Habits | None = None) -> None:
        super().__init__("habitual-v1")
        self._shop, self._slips, self._habits = shop, slips, habits

    def _answer(self, conversation: Conversation) -> str:
        habits = self._habits or Habits.draw(
            random.Random(f"habits-v1/{self._seed}/{conversation.seed}")
        )
        rng, notes = conversation.rng, self._shop.note(conversation.messages)
        slipped = rng.random() < self._slips
        plan = _slip(self._shop, rng) if slipped else _plan(habits, notes, self._shop)
        return self._shop.say(plan, rng, notes.feature)


def _plan(habits: Habits, notes: Notes, shop: ShopperKnowledge) -> Plan:
    product = notes.product
    topics = [topic for topic in habits.asks if topic in notes.unknown_topics()]
    if product is None and topics:
        return (Act(f"ask_{topics[0]}"),)
    wanted = _wanted(habits, notes, shop)
    shows_more = notes.unsuitable or (notes.refused and not notes.reason and not notes.question)
    if product is None or (shows_more and not habits.stubborn and wanted != product):
        acts = [Act("recommend", wanted)]
        acts += [Act("answer_price", percent=MOST_PERCENT)] * habits.generous
        acts += [Act("close")] * habits.hasty
        return tuple(acts)
    if notes.question and not habits.dodges:
        answer = shop.answer(notes)
        return (Act("tell_yes", product) if habits.agrees and notes.wish else answer,)
    if notes.question:
        return (Act("praise", product),)
    if notes.reason and habits.favourite:
        return (Act(f"answer_{habits.favourite}", percent=MOST_PERCENT // 2),)
    if notes.reason:
        return (remedy(notes.reason, notes),)
    if notes.refused and not habits.stubborn:
        return (Act("ask_concern"),)
    return (Act("close"),)


def _wanted(habits: Habits, notes: Notes, shop: ShopperKnowledge) -> Product:
    """Return what a seller with these habits recommends."""
    if not habits.dearer or notes.unsuitable:
        return shop.best(notes)
    return max(
        shop.catalog.products,
        key=lambda product: (
            2 * (notes.need in product.needs) + (notes.feature in product.features),
            product.price,
        ),
    )


def _slip(shop: ShopperKnowledge, rng: random.Random) -> Plan:
    kinds = ("ask_need", "ask_feature", "ask_budget", "ask_concern", "recommend", "close")
    kind = rng.choice((*kinds, "praise", "answer_reviews", "answer_warranty"))
    return (Act(kind, rng.choice(shop.catalog.products)),)


def habitual(
    catalog: str | Path | Catalog = "laptops",
    slips: float = 0.05,
    phrases: Mapping[str, tuple[str, ...]] | None = None,
    habits: Habits | None = None,
) -> HabitualShopperSeller:
    """Return the seller of Sales-v1 whose faults are habits.

    Args:
        catalog: what it sells; must be the customers' catalogue.
        slips: share of random acts.
        phrases: what it says in place of ``listening.PHRASES``, by kind of act.
        habits: of every seller; None draws them for each.

    Raises:
        ConvgymError: for slips outside [0, 1], or habits that are none.
    """
    if not isinstance(habits, Habits | None):
        raise ConvgymError(f"habits must be Habits or None, got {repr(habits)[:60]}")
    slips = check_probability("slips", slips)
    shop = ShopperKnowledge(load_catalog(catalog), {"praise": PRAISE, **(phrases or {})})
    return HabitualShopperSeller(shop, slips, habits)
