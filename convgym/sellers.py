"""Scripted sellers: the floor, the behaviour policy that writes logs, and the ceiling.

Every seller is a function from what it has noted of the conversation to a dialogue act, which
is then put into words. A seller sees only the messages; the oracle also sees the hidden state.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from convgym.catalog import Catalog, Product, load_catalog
from convgym.checks import check_probability
from convgym.conversation import Message, Response, as_said
from convgym.customers.scripted import TOPICS
from convgym.customers.understanding import OBJECTIONS, numbers, tokens, understanding
from convgym.deaf import Script, script_for
from convgym.errors import ConvgymError, unknown
from convgym.policy import Conversation

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


Decide = Callable[[Notes, "Shop", random.Random, Mapping[str, Any] | None], Plan]


class Shop:
    """A seller's knowledge of the catalogue, its ear for customers and its words.

    ``phrases`` are said in place of those in ``PHRASES``, by kind of act.
    """

    def __init__(
        self, catalog: Catalog, phrases: Mapping[str, tuple[str, ...]] | None = None
    ) -> None:
        self.catalog = catalog
        self._ear = understanding(catalog)
        wording = catalog.wording
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
        lexicon = self._ear.lexicon
        for message in messages:
            words = tokens(message["content"])
            union = 0
            for word in words:
                union |= lexicon.concepts(word) or 0
            if message["role"] == "assistant":
                named = lexicon.labels(union, "product:")
                if named:
                    notes.product = self.catalog.product(named[0])
                continue
            notes.need = next(iter(lexicon.labels(union, "need:")), notes.need)
            notes.feature = next(iter(lexicon.labels(union, "feature:")), notes.feature)
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
            price=f"{self.catalog.currency}{act.product.price}",
            claim=self.catalog.features[feature].claim,
        )


def _silent(notes: Notes, shop: Shop, rng: random.Random, latent: Mapping[str, Any] | None) -> Plan:
    return (Act("silence"),)


def _random(notes: Notes, shop: Shop, rng: random.Random, latent: Mapping[str, Any] | None) -> Plan:
    kind = rng.choice(list(PHRASES))
    return (Act(kind, rng.choice(shop.catalog.products) if kind == "recommend" else None),)


def _always_closing(
    notes: Notes, shop: Shop, rng: random.Random, latent: Mapping[str, Any] | None
) -> Plan:
    if notes.product is None:
        return (Act("recommend", rng.choice(shop.catalog.products)),)
    return (Act("close"),)


def _competent(
    notes: Notes, shop: Shop, rng: random.Random, latent: Mapping[str, Any] | None
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


def _deaf(
    script: Script,
    notes: Notes,
    shop: Shop,
    rng: random.Random,
    latent: Mapping[str, Any] | None,
) -> Plan:
    return tuple(
        Act(kind, shop.catalog.product(product) if product else None)
        for kind, product in script.acts(notes.turns)
    )


def _oracle(notes: Notes, shop: Shop, rng: random.Random, latent: Mapping[str, Any] | None) -> Plan:
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


def _mediocre(
    epsilon: float,
    notes: Notes,
    shop: Shop,
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


class ScriptedSeller:
    """A policy that decides by rule; safe to use on any number of conversations at once."""

    def __init__(self, name: str, decide: Decide, shop: Shop) -> None:
        self._name, self._decide, self._shop = name, decide, shop

    @property
    def name(self) -> str:
        return self._name

    def reset(self, seed: int) -> None:
        """Do nothing: all randomness comes from each conversation's own stream."""

    def act(self, conversations: Sequence[Conversation]) -> list[Response]:
        """Return one response for each conversation."""
        return [
            Response(
                self._shop.say(
                    self._decide(
                        self._shop.note(conversation.messages),
                        self._shop,
                        conversation.rng,
                        conversation.latent,
                    ),
                    conversation.rng,
                )
            )
            for conversation in conversations
        ]


SELLERS = ("silent", "random", "always-closing", "mediocre", "competent", "oracle")
"""The reference sellers from the floor to the ceiling."""

DEAF = "deaf"
"""One more, which suites meet only when they are asked to: the floor for who listens."""


def make_seller(
    name: str,
    catalog: str | Path | Catalog = "laptops",
    epsilon: float = 0.1,
    phrases: Mapping[str, tuple[str, ...]] | None = None,
) -> ScriptedSeller:
    """Return a reference seller by name.

    Args:
        name: one of ``SELLERS``, or ``"deaf"`` (see ``convgym.deaf``).
        catalog: what it sells; must be the customers' catalogue.
        epsilon: share of random acts of the mediocre seller, the behaviour policy of logs.
        phrases: what it says in place of ``PHRASES``, by kind of act.

    Raises:
        ConvgymError: for an unknown name or an epsilon outside [0, 1].
    """
    epsilon = check_probability("epsilon", epsilon)
    shop = load_catalog(catalog)
    deciders: dict[str, Decide] = {
        "silent": _silent,
        "random": _random,
        "always-closing": _always_closing,
        DEAF: partial(_deaf, script_for(shop)),
        "mediocre": partial(_mediocre, epsilon),
        "competent": _competent,
        "oracle": _oracle,
    }
    if not isinstance(name, str) or name not in deciders:
        raise unknown("seller", name, deciders)
    return ScriptedSeller(name, deciders[name], Shop(shop, phrases))


def deaf_seller(script: Script, catalog: str | Path | Catalog) -> ScriptedSeller:
    """Return a seller that keeps to ``script``; ConvgymError if the shop lacks a product."""
    shop = load_catalog(catalog)
    for product in script.products:
        shop.product(product)
    return ScriptedSeller(DEAF, partial(_deaf, script), Shop(shop))
