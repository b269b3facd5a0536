"""What a scripted seller knows: the catalogue, what it has heard, and its words."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple

from convgym.conversation import Message, as_said
from convgym.errors import ConvgymError
from convgym.shop.catalog import Catalog, Product
from convgym.shop.language import TOPICS, lexicon, numbers, tokens

PHRASES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "ask_need": (
            "What will you use it for?",
            "What do you need the {item} for?",
            "What are you planning to do with it?",
        ),
        "ask_feature": (
            "What matters most to you?",
            "Which feature is most important to you?",
            "What do you care about most?",
        ),
        "ask_budget": (
            "What is your budget?",
            "How much do you want to spend?",
            "What price range do you have in mind?",
        ),
        "ask_concern": (
            "Do you have any concerns?",
            "Is anything holding you back?",
            "Do you have any doubts?",
        ),
        "recommend": (
            "I recommend the {product} for {price}.",
            "The {product} would be a great choice, it costs {price}.",
            "I suggest the {product}, it {claim}.",
        ),
        "answer_price": (
            "I can give you a discount on it.",
            "You can pay in monthly installments.",
        ),
        "answer_warranty": (
            "It comes with a two year warranty.",
            "You can return it for a full refund.",
        ),
        "answer_delivery": (
            "We ship it tomorrow.",
            "The delivery takes only two days.",
        ),
        "answer_reviews": (
            "It has great reviews.",
            "Our customers rated it five stars.",
        ),
        "close": (
            "Would you like to buy it?",
            "Shall I place the order?",
            "Are you ready to order?",
        ),
        "push": ("Buy it now!", "Hurry, you must order today!"),
        "chat": ("The weather is nice today.", "I love my new shop.", "You look great today."),
        "silence": ("",),
    }
)


# How customers word their objections.
_WORRIES: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        "price": frozenset({"expensive", "money", "fair"}),
        "warranty": frozenset({"breaks", "wrong", "last"}),
        "delivery": frozenset({"until", "soon", "when"}),
        "reviews": frozenset({"brand", "people", "any"}),
    }
)


class Act(NamedTuple):
    """A dialogue act; ``product`` is what a recommendation recommends."""

    kind: str
    product: Product | None = None


Plan = tuple[Act, ...]
"""What a seller does in one utterance: usually one act."""


@dataclass(slots=True)
class Notes:
    """What a seller has learnt from the messages."""

    need: str | None = None
    feature: str | None = None
    budget: int | None = None
    product: Product | None = None
    worry: str | None = None
    refused: bool = False
    turns: int = 0

    def unknown_topics(self) -> list[str]:
        return [topic for topic in TOPICS if getattr(self, topic) is None]


class SellerKnowledge:
    """A seller's knowledge of the catalogue, its ear for customers and its words.

    ``phrases`` are said in place of those in ``PHRASES``, by kind of act.
    """

    def __init__(
        self, catalog: Catalog, phrases: Mapping[str, tuple[str, ...]] | None = None
    ) -> None:
        self.catalog = catalog
        self._lexicon = lexicon(catalog)
        wording = catalog.wording
        if not isinstance(phrases, Mapping | None):
            raise ConvgymError(
                f"phrases must be lists of sentences by kind of act, got {repr(phrases)[:60]}"
            )
        self._phrases = {
            **PHRASES,
            **{f"ask_{topic}": phrases for topic, phrases in wording.questions.items()},
            **{f"answer_{kind}": said.answers for kind, said in wording.objections.items()},
            **(phrases or {}),
        }

    def note(self, messages: Sequence[Message]) -> Notes:
        """Read a conversation; a later statement of the customer's replaces an earlier one."""
        messages = as_said(messages)
        notes = Notes(turns=len(messages) // 2)
        words_known = self._lexicon
        for message in messages:
            words = tokens(message["content"])
            union = 0
            for word in words:
                union |= words_known.concepts(word) or 0
            if message["role"] == "assistant":
                named = words_known.labels(union, "product:")
                if named:
                    notes.product = self.catalog.product(named[0])
                continue
            notes.need = next(iter(words_known.labels(union, "need:")), notes.need)
            notes.feature = next(iter(words_known.labels(union, "feature:")), notes.feature)
            notes.budget = max(numbers(words), default=0) or notes.budget
        last = set(tokens(messages[-1]["content"]))
        notes.refused = bool(last & {"no", "not", "maybe"})
        if notes.product:
            notes.worry = next((kind for kind, words in _WORRIES.items() if last & words), None)
        return notes

    def best(self, notes: Notes) -> Product:
        """Return the product that fits what is known best."""

        def fit(product: Product) -> float:
            ratio = product.price / notes.budget if notes.budget else 0.8
            return (
                2.0 * (notes.need in product.needs)
                + 1.0 * (notes.feature in product.features)
                - 8.0 * max(0.0, ratio - 1.05)
                - 4.0 * max(0.0, 0.6 - ratio)
            )

        return max(self.catalog.products, key=fit)

    def say(self, plan: Plan, rng: random.Random) -> str:
        """Put acts into words, a sentence each."""
        return " ".join(self._sentence(act, rng) for act in plan)

    def _sentence(self, act: Act, rng: random.Random) -> str:
        phrase = rng.choice(self._phrases[act.kind])
        if act.product is None:
            return phrase.format(item=self.catalog.item)
        feature = rng.choice(act.product.features)
        return phrase.format(
            product=act.product.name,
            price=self.catalog.money(act.product.price),
            claim=self.catalog.features[feature].claim,
        )
