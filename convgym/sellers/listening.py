"""What sellers of ``convgym/Sales-v1`` hear and say: an ear for shoppers, notes, and words.

The ear is a naive Bayes classifier of sentences, made from the grammar that shoppers speak: words,
and two or three of them side by side. Needs, features, products and amounts are read with the
shop's lexicon, and count as one word each. It is good, and not perfect: noise is heard as noise.
"""

from __future__ import annotations

import math
import random
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import cycle, pairwise, repeat
from types import MappingProxyType
from typing import NamedTuple

from convgym.conversation import Message, as_said
from convgym.sellers.knowledge import PHRASES as _EVERYWHERE
from convgym.shop.catalog import Catalog, Need, Product
from convgym.shop.grammar import Grammar
from convgym.shop.grammar import wording as read_wording
from convgym.shop.language import TOPICS, lexicon, tokens
from convgym.shop.quantities import amounts, in_digits
from convgym.shop.terms import terms_of

_SENTENCE = re.compile(r"[^.!?]+[.!?]*")
_SLOT = re.compile(r"\{(\w+)\}")
_AMOUNT = repeat("0")
_KINDS = ("product", "need", "feature")
"""Kinds of things that count as one word each, whichever is named."""
_TRIES = 8
"""How often a seller looks for words that it has not said before."""
_SMOOTHING = 0.001

PHRASES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        **{kind: _EVERYWHERE[kind] for kind in ("ask_need", "ask_feature", "ask_budget")},
        "ask_concern": (*_EVERYWHERE["ask_concern"], "What is stopping you?"),
        "recommend": _EVERYWHERE["recommend"],
        "tell_yes": ("Yes, it does.", "Yes, you get that too.", "Certainly, that is included."),
        "tell_no": ("No, it does not.", "Sorry, that is not included.", "No, that it lacks."),
        "tell_delivery": (
            "The delivery takes {days} days.",
            "It will arrive in {days} days.",
            "We deliver it in {days} days.",
        ),
        "tell_compare": (
            "The {product} {claim}, that is why I suggest it.",
            "The {product} {claim} and costs {price}.",
        ),
        "answer_price": (
            "I can take {percent}% off for you.",
            "You would get {percent}% off.",
        ),
        "answer_instalments": (
            "You can pay in monthly installments.",
            "Financing it monthly makes it easy.",
        ),
        "answer_warranty": _EVERYWHERE["answer_warranty"],
        "answer_delivery": ("We can send it by express courier.", "Express delivery is possible."),
        "answer_reviews": _EVERYWHERE["answer_reviews"],
        "answer_partner": (
            "I can put it all in writing for your partner.",
            "Here is a written summary to decide on together.",
        ),
        "answer_rival": (
            "We match what they ask across the street.",
            "I can match any competitor.",
        ),
        "close": (
            *_EVERYWHERE["close"],
            "May I wrap it up for you?",
            "Shall we go to the checkout?",
        ),
        **{kind: _EVERYWHERE[kind] for kind in ("push", "chat", "silence")},
    }
)
"""What the reference sellers say, by kind of act."""


class Act(NamedTuple):
    """A dialogue act; ``product`` is what it is about, ``percent`` what is taken off."""

    kind: str
    product: Product | None = None
    percent: int = 0


Plan = tuple[Act, ...]
"""What a seller does in one utterance."""


@dataclass(slots=True)
class Notes:
    """What a seller has learnt from the messages.

    ``question`` ("spec", "delivery", "compare") waits for an answer about ``wish`` or ``about``;
    ``reason`` is the last that stands in the way, ``wanted`` the price that was asked for.
    """

    need: str | None = None
    feature: str | None = None
    low: int | None = None
    high: int | None = None
    product: Product | None = None
    question: str | None = None
    wish: str | None = None
    about: str | None = None
    reason: str | None = None
    wanted: int | None = None
    refused: bool = False
    unsuitable: bool = False
    percent: int = 0
    turns: int = 0

    def unknown_topics(self) -> list[str]:
        """Return the topics that the customer has not spoken of."""
        known = {"need": self.need, "feature": self.feature, "budget": self.high}
        return [topic for topic in TOPICS if known[topic] is None]


def _features(words: Sequence[str], end: str) -> set[str]:
    """Return the words of a sentence and what stands side by side in it, its ends included."""
    marked = ["<", *words, end]
    triples = zip(marked, marked[1:], marked[2:], strict=False)
    return {*words, *map(" ".join, pairwise(marked)), *map(" ".join, triples)}


def _fillings(catalog: Catalog, fragments: bool) -> dict[str, Iterator[str]]:
    """Return what slots are filled with in turn: phrases, in fragments single words."""
    topics: Mapping[str, Iterable[Need]] = {
        "need": catalog.needs.values(),
        "feature": catalog.features.values(),
    }
    return {
        "item": cycle((catalog.item,)),
        "a_item": cycle((f"a {catalog.item}",)),
        "items": cycle((catalog.items.split(",")[0],)),
        "product": cycle(product.name for product in catalog.products),
        "other": cycle(product.name for product in catalog.products),
        "wish": cycle(feature.question for feature in catalog.features.values()),
        **{
            name: cycle(
                said for topic in kind for said in (topic.words if fragments else topic.phrases)
            )
            for name, kind in topics.items()
        },
    }


class Listener:
    """Tells what the sentences of a shopper mean.

    Args:
        catalog: the shop; its needs, features and products are heard as such.
        wording: what its shoppers say.
    """

    def __init__(self, catalog: Catalog, wording: str = "shopper") -> None:
        self._lexicon = lexicon(catalog)
        bit = self._lexicon.bit
        self._kinds = [
            (kind, sum(mask for name, mask in bit.items() if name.startswith(f"{kind}:")))
            for kind in _KINDS
        ]
        spoken = read_wording(wording)
        grammars = {fragments: Grammar(spoken, fragments) for fragments in (False, True)}
        said = {
            token
            for grammar in grammars.values()
            for meaning in grammar.meanings
            for way in grammar.ways(meaning)
            for token in tokens(_SLOT.sub(" ", way))
        }
        topics = (*catalog.needs.values(), *catalog.features.values())
        # "Pity" is no slip of "city".
        self._literal = said - {word for topic in topics for word in topic.words}
        counts: dict[str, dict[str, float]] = {}
        slots = {fragments: _fillings(catalog, fragments) for fragments in (False, True)}
        for fragments, grammar in grammars.items():
            for meaning in grammar.meanings:
                counter = counts.setdefault(meaning, defaultdict(float))
                self._count(counter, grammar.ways(meaning), slots[fragments])
        for mood in spoken.moods.values():
            for words in mood.values():
                self._count(counts.setdefault("mood", defaultdict(float)), words, {})
        vocabulary = {feature for counter in counts.values() for feature in counter}
        self._meanings = sorted(counts)
        self._weights: dict[str, list[float]] = {
            feature: [math.log(counts[m].get(feature, 0.0) + _SMOOTHING) for m in self._meanings]
            for feature in vocabulary
        }
        self._remembered = lru_cache(maxsize=8192)(self._read)

    def _count(
        self, counter: dict[str, float], ways: Sequence[str], slots: Mapping[str, Iterator[str]]
    ) -> None:
        """Count the words of all ways to say something, a sentence at a time."""
        for way in ways:
            filled = _SLOT.sub(lambda slot: next(slots.get(slot[1], _AMOUNT)), way)
            for sentence in _SENTENCE.findall(filled):
                for feature in self._features(sentence):
                    counter[feature] += 1 / len(ways)

    def _features(self, sentence: str) -> set[str]:
        """Return what tells a sentence, with one word for each kind of thing that is named."""
        words = [self._word(token) for token in tokens(sentence)]
        return _features(words, "?" if "?" in sentence else ".")

    def _word(self, token: str) -> str:
        if token[0].isdigit():
            return "0"
        if token in self._literal:
            return token
        mask = self._lexicon.concepts(token) or 0
        return next((f"<{kind}>" for kind, all_of in self._kinds if mask & all_of), token)

    def hear(self, text: str) -> list[tuple[str, str]]:
        """Return the sentences of a message, each with what it means."""
        return [
            (sentence, self._remembered(sentence))
            for sentence in _SENTENCE.findall(text)
            if sentence.strip(" .!?")
        ]

    def _read(self, sentence: str) -> str:
        scores = [0.0] * len(self._meanings)
        for feature in self._features(sentence):
            weights = self._weights.get(feature)
            if weights is not None:
                scores = [score + weight for score, weight in zip(scores, weights, strict=True)]
        return self._meanings[max(range(len(scores)), key=scores.__getitem__)]


_REASONS = ("price", "warranty", "delivery", "reviews", "partner", "rival")
_REFUSALS = frozenset(
    ("vague", "refuse_unsure", "refuse_again", "refuse_unsuitable", "refuse_question")
)
_UNSUITABLE = frozenset(("bad_offer", "too_expensive", "refuse_unsuitable", "real_limit"))
_ABOUT_ITSELF = frozenset(
    ("opening_need", "need", "feature", "budget", "real_limit", "told_before", "mood")
)
"""Meanings in which a shopper speaks of its own wishes."""
_PERCENT = re.compile(r"(\d+)%")


class ShopperKnowledge:
    """A seller's knowledge of the shop, its ear for shoppers and its words.

    ``phrases`` are said in place of those in ``PHRASES``, by kind of act.
    """

    def __init__(
        self, catalog: Catalog, phrases: Mapping[str, tuple[str, ...]] | None = None
    ) -> None:
        self.catalog = catalog
        self.terms = terms_of(catalog)
        self._lexicon = lexicon(catalog)
        self._listener = listener(catalog)
        questions = catalog.wording.questions
        self._phrases = {
            **PHRASES,
            **{f"ask_{topic}": said for topic, said in questions.items()},
            **(phrases or {}),
        }

    def note(self, messages: Sequence[Message]) -> Notes:
        """Read a conversation; a later statement of the customer's replaces an earlier one."""
        messages = as_said(messages)
        notes = Notes(turns=len(messages) // 2)
        asked: frozenset[str] = frozenset()
        for message in messages:
            if message["role"] == "assistant":
                self._note_own(message["content"], notes)
                asked = self._asked(message["content"])
            else:
                self._note_reply(message["content"], asked, notes)
        return notes

    def _asked(self, text: str) -> frozenset[str]:
        """Return the topics that the seller has just asked about."""
        return frozenset(
            topic
            for topic in TOPICS
            if any(
                phrase.format(item=self.catalog.item) in text
                for phrase in self._phrases[f"ask_{topic}"]
            )
        )

    def _note_own(self, text: str, notes: Notes) -> None:
        named = self._named(text)
        # To compare is not to recommend.
        if named and not (notes.question == "compare" and named[0] == notes.about):
            product = self.catalog.product(named[0])
            if product is not notes.product:
                notes.product, notes.percent, notes.reason = product, 0, None
        percent = _PERCENT.search(text)
        if percent:
            notes.percent = max(notes.percent, int(percent[1]))

    def _note_reply(self, text: str, asked: frozenset[str], notes: Notes) -> None:
        notes.refused = notes.unsuitable = False
        for sentence, meaning in self._listener.hear(text):
            if meaning == "ask_spec":
                notes.question, notes.wish = "spec", self._first(sentence, "feature:")
            elif meaning == "ask_delivery":
                notes.question = "delivery"
            elif meaning == "ask_compare":
                notes.question = "compare"
                notes.about = next(iter(self._named(sentence)), notes.about)
            elif meaning in ("answered", "answered_no"):
                notes.question = None
            elif meaning == "prefer":
                named = self._named(sentence)
                notes.product = self.catalog.product(named[0]) if named else notes.product
            elif meaning == "haggle":
                notes.reason = "price"
                notes.wanted = max(amounts(sentence), default=0) or notes.wanted
            elif meaning.startswith("reason_"):
                notes.reason = meaning.removeprefix("reason_")
            elif meaning in ("resolved", "discount_good"):
                notes.reason = None
            if meaning in _ABOUT_ITSELF:
                self._note_topics(sentence, meaning, notes)
            elif not meaning.startswith("evade"):
                self._note_answer(sentence, asked, notes)
            notes.refused = notes.refused or meaning in _REFUSALS
            notes.unsuitable = notes.unsuitable or meaning in _UNSUITABLE

    def _note_topics(self, sentence: str, meaning: str, notes: Notes) -> None:
        """Note need, feature and amounts wherever they are named."""
        notes.need = self._first(sentence, "need:") or notes.need
        notes.feature = self._first(sentence, "feature:") or notes.feature
        money = sorted(amounts(sentence))
        if meaning == "real_limit" and money:
            notes.high = money[-1]
        elif money:
            notes.low, notes.high = money[0], money[-1]

    def _note_answer(self, sentence: str, asked: frozenset[str], notes: Notes) -> None:
        """Note what answers a question in words that shoppers do not use, but people do.

        Before anything was shown, money that is named is what somebody wants to spend.
        """
        if "need" in asked and notes.need is None:
            notes.need = self._first(sentence, "need:")
        if "feature" in asked and notes.feature is None:
            notes.feature = self._first(sentence, "feature:")
        money = sorted(amounts(sentence))
        if money and notes.high is None and ("budget" in asked or notes.product is None):
            notes.low, notes.high = money[0], money[-1]

    def _union(self, text: str) -> int:
        union = 0
        for word in tokens(text):
            union |= self._lexicon.concepts(word) or 0
        return union

    def _first(self, text: str, prefix: str) -> str | None:
        # "Eight" is no slip of "light".
        union = self._union(in_digits(text.lower()))
        return next(iter(self._lexicon.labels(union, prefix)), None)

    def _named(self, text: str) -> list[str]:
        """Return the products named in a text, in order."""
        places: dict[str, int] = {}
        for place, word in enumerate(tokens(text)):
            for name in self._lexicon.labels(self._lexicon.concepts(word) or 0, "product:"):
                places.setdefault(name, place)
        return sorted(places, key=lambda name: places[name])

    def best(self, notes: Notes) -> Product:
        """Return the product that fits what is known best."""

        def fit(product: Product) -> float:
            ratio = product.price / notes.high if notes.high else 0.8
            return (
                2.0 * (notes.need in product.needs)
                + 1.0 * (notes.feature in product.features)
                - 8.0 * max(0.0, ratio - 1.05)
                - 4.0 * max(0.0, 0.6 - ratio)
            )

        return max(self.catalog.products, key=fit)

    def answer(self, notes: Notes) -> Act:
        """Return the true answer to the question that waits."""
        product = notes.product or self.catalog.products[0]
        if notes.question == "spec":
            return Act("tell_yes" if notes.wish in product.features else "tell_no", product)
        return Act(f"tell_{notes.question}", product)

    def say(
        self,
        plan: Plan,
        rng: random.Random,
        feature: str | None = None,
        said: Sequence[str] = (),
    ) -> str:
        """Put acts into words, a sentence each.

        Claims are of ``feature`` where that is true. What was ``said`` before is not said again in
        the same words, marks and capitals apart, as long as there are others.
        """
        before = {tuple(tokens(text)) for text in said}
        for _ in range(_TRIES):
            words = " ".join(self._sentence(act, rng, feature) for act in plan)
            if tuple(tokens(words)) not in before:
                break
        return words

    def _sentence(self, act: Act, rng: random.Random, feature: str | None) -> str:
        phrase = rng.choice(self._phrases[act.kind])
        slots: dict[str, object] = {"item": self.catalog.item, "percent": act.percent}
        product = act.product
        if product is not None:
            claimed = feature if feature in product.features else rng.choice(product.features)
            slots |= {
                "product": product.name,
                "price": self.catalog.money(product.price),
                "claim": self.catalog.features[str(claimed)].claim,
                "days": self.terms[product.name].days,
            }
        return phrase.format(**slots)


@lru_cache(maxsize=8)
def listener(catalog: Catalog) -> Listener:
    """Return the ear for a shop's customers, one for all who sell there."""
    return Listener(catalog)
