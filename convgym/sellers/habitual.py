"""Sellers with habits: mediocre not by chance, but each in a way of its own.

The mediocre seller (``convgym.sellers.scripted``) mostly does what is right, and its faults are
noise: who imitates it and always says what is likeliest has left its faults behind. Here every
conversation has a seller with habits, kept to its end: it skips a question, shows the dearest,
answers whatever worry with what it likes to say, or closes at once. At each of these decisions
most sellers do what is wrong, so that the likeliest act is not the best one, yet the best is common
enough to be found.

It repeats what it has understood, so that what it looks up stands in its words. One that ``reads``
says each look-up aloud, one word after the other, as they stand in the shop's leaflet
(``Catalog.leaflet``): the customer's words and what they mean, then need, feature, price and
product. It chooses only between two offers, the cheapest and the dearest of what the leaflet has
for a need with a feature, and its first words say which of them follows, so that no choice is left
where it looks up.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from convgym.checks import check_probability
from convgym.conversation import Message, as_said
from convgym.errors import ConvgymError
from convgym.policy import Conversation
from convgym.sellers.knowledge import Act, Notes, SellerKnowledge
from convgym.sellers.one_by_one import OneByOne
from convgym.shop.catalog import Catalog, Feature, Need, Product, load_catalog
from convgym.shop.language import OBJECTIONS, tokens


@dataclass(frozen=True, slots=True)
class Habits:
    """What one seller does in all of a conversation.

    Attributes:
        asks: the topics that it asks about, in this order; it never asks about the others.
        dearer: whether it shows the dearest of what suits, whatever the budget.
        favourite: the answer that it gives to every worry; None answers the worry itself.
        hasty: whether it asks for the order in the same breath as it recommends.
        stubborn: whether it closes again after a no where another would show something else.
    """

    asks: tuple[str, ...]
    dearer: bool
    favourite: str | None
    hasty: bool
    stubborn: bool


SKIPS: Mapping[str, float] = {"need": 0.2, "feature": 0.55, "budget": 0.6}
"""Share of the sellers that never ask about a topic."""
DEARER, FAVOURITE, HASTY, STUBBORN = 0.55, 0.6, 0.5, 0.65
"""Share of the sellers that have each of the other habits."""


def draw_habits(rng: random.Random) -> Habits:
    """Return a seller's habits, drawn independently of each other."""
    topics = [topic for topic, share in SKIPS.items() if rng.random() >= share]
    if rng.random() < 0.3:
        rng.shuffle(topics)
    return Habits(
        tuple(topics),
        rng.random() < DEARER,
        rng.choice(OBJECTIONS) if rng.random() < FAVOURITE else None,
        rng.random() < HASTY,
        rng.random() < STUBBORN,
    )


class HabitualSeller(OneByOne):
    """A seller per conversation, each with habits of its own.

    A conversation's habits follow from its seed and the policy's (``reset``), its words from the
    stream that it brings.

    Args:
        shop: what the seller knows.
        slips: share of acts that are drawn at random.
        habits: of every seller; None draws them for each.
        reads: whether it speaks as who looks everything up in the leaflet.
    """

    def __init__(
        self,
        shop: SellerKnowledge,
        slips: float,
        habits: Habits | None = None,
        reads: bool = False,
    ) -> None:
        super().__init__("habitual")
        self._shop, self._slips, self._habits, self._reads = shop, slips, habits, reads

    def _answer(self, conversation: Conversation) -> str:
        habits = self._habits or draw_habits(
            random.Random(f"habits/{self._seed}/{conversation.seed}")
        )
        rng, shop, messages = conversation.rng, self._shop, conversation.messages
        notes = shop.note(messages)
        before = shop.note(messages[:-2]) if len(messages) > 2 else Notes()
        news = _news(notes, before)
        words = [self._looked_up(news, messages) if self._reads else _understood(news)]
        choose = _first_or_last if self._reads else _wanted
        for act in _plan(habits, notes, shop, choose, self._slips, rng):
            words.append(self._say(act, notes, rng))
        return " ".join(filter(None, words))

    def _say(self, act: Act, notes: Notes, rng: random.Random) -> str:
        product = act.product
        if product is None:
            return self._shop.say((act,), rng)
        catalog = self._shop.catalog
        need = self._named(notes.need, product.needs, rng)
        feature = self._named(notes.feature, product.features, rng)
        if self._reads:
            return catalog.read_out(product, need, feature)
        lead = rng.choice(("I suggest for", "For"))
        return f"{lead} {need} with {feature}: {catalog.money(product.price)} {product.name}."

    def _named(self, noted: str | None, suits: Sequence[str], rng: random.Random) -> str:
        """Return what was noted of the customer, or else something that the product suits.

        Who reads names what comes first in the leaflet.
        """
        if noted is not None and noted in suits:
            return noted
        return suits[0] if self._reads else rng.choice(suits)

    def _looked_up(self, news: Mapping[str, str], messages: Sequence[Message]) -> str:
        """Return the customer's words for all that is new, in their order, the leaflet's behind."""
        catalog = self._shop.catalog
        topics: Mapping[str, Mapping[str, Need | Feature]] = {
            "need": catalog.needs,
            "feature": catalog.features,
        }
        heard = tokens(as_said(messages)[-1]["content"])
        said = []
        for kind, topic in news.items():
            its_own = (
                place for place, word in enumerate(heard) if word in topics[kind][topic].words
            )
            place = next(its_own, len(heard))
            word = heard[place] if place < len(heard) else topic
            said.append((place, f"{word} {topic}."))
        return " ".join(note for _, note in sorted(said))


def _news(notes: Notes, before: Notes) -> dict[str, str]:
    """Return the need and the feature that were heard just now, as far as they are new."""
    return {
        topic: getattr(notes, topic)
        for topic in ("need", "feature")
        if getattr(notes, topic) and getattr(notes, topic) != getattr(before, topic)
    }


def _understood(news: Mapping[str, str]) -> str:
    """Return what was heard just now, said again in the leaflet's names for it."""
    return f"So, {' with '.join(news.values())}." if news else ""


def _plan(
    habits: Habits,
    notes: Notes,
    shop: SellerKnowledge,
    choose: Callable[[Habits, Notes, SellerKnowledge], Product],
    slips: float,
    rng: random.Random,
) -> tuple[Act, ...]:
    if rng.random() < slips:
        return _slip(shop, rng)
    topics = [topic for topic in habits.asks if topic in notes.unknown_topics()]
    if notes.product is None and topics:
        return (Act(f"ask_{topics[0]}"),)
    wanted = choose(habits, notes, shop)
    if notes.product is None or (notes.refused and not habits.stubborn and wanted != notes.product):
        close = (Act("close"),) if habits.hasty else ()
        return (Act("recommend", wanted), *close)
    if notes.worry:
        return (Act(f"answer_{habits.favourite or notes.worry}"),)
    return (Act("close"),)


def _wanted(habits: Habits, notes: Notes, shop: SellerKnowledge) -> Product:
    """Return what a seller with these habits recommends."""
    best = shop.best(notes)
    if not habits.dearer or notes.refused:
        return best
    return max(
        shop.catalog.products,
        key=lambda product: (
            2 * (notes.need in product.needs) + (notes.feature in product.features),
            product.price,
        ),
    )


def _first_or_last(habits: Habits, notes: Notes, shop: SellerKnowledge) -> Product:
    """Return what a seller with these habits recommends that reads its leaflet.

    Of the offers for what was noted, or else for what comes first in the leaflet.
    """
    catalog = shop.catalog
    need = notes.need or next(iter(catalog.needs))
    offered = catalog.meeting(need, notes.feature or next(iter(catalog.features)))
    if not offered:
        return shop.best(notes)
    which = max if habits.dearer and not notes.refused else min
    return which(offered, key=lambda product: product.price)


def _slip(shop: SellerKnowledge, rng: random.Random) -> tuple[Act, ...]:
    kind = rng.choice(
        ("ask_need", "ask_feature", "ask_budget", "ask_concern", "recommend", "close")
    )
    return (Act(kind, rng.choice(shop.catalog.products) if kind == "recommend" else None),)


def habitual(
    catalog: str | Path | Catalog = "laptops",
    slips: float = 0.05,
    phrases: Mapping[str, tuple[str, ...]] | None = None,
    habits: Habits | None = None,
    reads: bool = False,
) -> HabitualSeller:
    """Return the seller whose faults are habits.

    Args:
        catalog: what it sells; must be the customers' catalogue.
        slips: share of random acts.
        phrases: what it says in place of ``PHRASES``, by kind of act; recommendations apart, which
            name a product with need, feature and price.
        habits: of every seller; None draws them for each.
        reads: whether it says every look-up aloud, in the leaflet's order of words; models that are
            to read a leaflet learn from such a seller.

    Raises:
        ConvgymError: for slips outside [0, 1], or habits that are none.
    """
    if not isinstance(habits, Habits | None):
        raise ConvgymError(f"habits must be Habits or None, got {repr(habits)[:60]}")
    slips = check_probability("slips", slips)
    shop = load_catalog(catalog)
    if reads:
        shop = _as_read(shop)
    return HabitualSeller(SellerKnowledge(shop, phrases), slips, habits, reads)


def _as_read(catalog: Catalog) -> Catalog:
    """Return a shop whose products suit needs and features in the leaflet's order."""
    needs, features = list(catalog.needs), list(catalog.features)

    def ordered(product: Product) -> Product:
        return product.model_copy(
            update={
                "needs": tuple(sorted(product.needs, key=needs.index)),
                "features": tuple(sorted(product.features, key=features.index)),
            }
        )

    return catalog.model_copy(update={"products": tuple(map(ordered, catalog.products))})
