"""What sellers of ``convgym/Sales-v1`` hear and say: an ear for shoppers, notes, and words.

The ear is a naive Bayes classifier of sentences, made from the grammar that shoppers speak: words
and pairs of words, slots apart. Needs, features, products and amounts are read with the shop's
lexicon. It is good, and not perfect: noise is heard as noise.
"""

from __future__ import annotations

import math
import random
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import NamedTuple

from convgym.conversation import Message, as_said
from convgym.shop.catalog import Catalog, Product
from convgym.shop.grammar import Grammar
from convgym.shop.grammar import wording as read_wording
from convgym.shop.language import TOPICS, lexicon, numbers, tokens
from convgym.shop.terms import terms_of

_SENTENCE = re.compile(r"[^.!?]+[.!?]*")
_SLOT = re.compile(r"\{(\w+)\}")
_AMOUNTS = frozenset(("price", "offer", "limit", "low", "high"))
_TRIES = 8
"""How often a seller looks for words that it has not said before."""
_SMOOTHING = 0.02

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
            "What is stopping you?",
        ),
        "recommend": (
            "I recommend the {product} for {price}.",
            "The {product} would be a great choice, it costs {price}.",
            "I suggest the {product}, it {claim}.",
        ),
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
        "praise": ("The {product} {claim}.", "It {claim}, you will like it."),
        "answer_price": (
            "I can take {percent}% off for you.",
            "You would get {percent}% off.",
        ),
        "answer_instalments": (
            "You can pay in monthly installments.",
            "Financing it monthly makes it easy.",
        ),
        "answer_warranty": (
            "It comes with a two year warranty.",
            "You can return it for a full refund.",
        ),
        "answer_delivery": ("We can send it by express courier.", "Express delivery is possible."),
        "answer_reviews": ("It has great reviews.", "Our customers rated it five stars."),
        "answer_partner": (
            "I can put it all in writing for your partner.",
            "Here is a written summary to decide on together.",
        ),
        "answer_rival": (
            "We match what they ask across the street.",
            "I can match any competitor.",
        ),
        "close": (
            "Would you like to buy it?",
            "Shall I place the order?",
            "Are you ready to order?",
            "May I wrap it up for you?",
            "Shall we go to the checkout?",
        ),
        "push": ("Buy it now!", "Hurry, you must order today!"),
        "chat": ("The weather is nice today.", "I love my new shop.", "You look great today."),
        "silence": ("",),
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


def _features(words: Sequence[str]) -> list[str]:
    marked = ["<", *words, ">"]
    return [*words, *(f"{a} {b}" for a, b in zip(marked, marked[1:], strict=False))]


class Listener:
    """Tells what the sentences of a shopper mean.

    Args:
        catalog: the shop; its needs, features and products are heard as such.
        wording: what its shoppers say.
    """

    def __init__(self, catalog: Catalog, wording: str = "shopper") -> None:
        self._lexicon = lexicon(catalog)
        counts: dict[str, Counter[str]] = {}
        spoken = read_wording(wording)
        for fragments in (False, True):
            grammar = Grammar(spoken, fragments)
            for meaning in grammar.meanings:
                ways = grammar.ways(meaning)
                for way in ways:
                    self._count(counts.setdefault(meaning, Counter()), way, 1 / len(ways))
        for words in spoken.moods.values():
            for word in words:
                self._count(counts.setdefault("mood", Counter()), word, 1 / len(words))
        vocabulary = {feature for counter in counts.values() for feature in counter}
        self._meanings = sorted(counts)
        self._weights: dict[str, list[float]] = {
            feature: [math.log(counts[m][feature] + _SMOOTHING) for m in self._meanings]
            for feature in vocabulary
        }
        self._remembered = lru_cache(maxsize=8192)(self._read)

    def _count(self, counter: Counter[str], way: str, weight: float) -> None:
        for sentence in _SENTENCE.findall(way):
            text = _SLOT.sub(lambda m: " 0 " if m[1] in _AMOUNTS else " zzslot ", sentence)
            for feature in set(_features(self._words(text))):
                counter[feature] += weight

    def _words(self, text: str) -> list[str]:
        """Return the words of a sentence: amounts as 0, what fills slots left out."""
        words = []
        for token in tokens(text):
            if token[0].isdigit():
                words.append("0")
            elif token != "zzslot":
                words.append(token)
        return words

    def hear(self, text: str) -> list[tuple[str, str]]:
        """Return the sentences of a message, each with what it means."""
        return [
            (sentence, self._remembered(sentence))
            for sentence in _SENTENCE.findall(text)
            if sentence.strip(" .!?")
        ]

    def _read(self, sentence: str) -> str:
        scores = [0.0] * len(self._meanings)
        for feature in set(_features(self._words(sentence))):
            weights = self._weights.get(feature)
            if weights is not None:
                scores = [score + weight for score, weight in zip(scores, weights, strict=True)]
        return self._meanings[max(range(len(scores)), key=scores.__getitem__)]


_REASONS = ("price", "warranty", "delivery", "reviews", "partner", "rival")
_REFUSALS = frozenset(
    ("vague", "refuse_unsure", "refuse_again", "refuse_unsuitable", "refuse_question")
)
_UNSUITABLE = frozenset(("bad_offer", "too_expensive", "refuse_unsuitable", "real_limit"))
_ABOUT_OFFERS = frozenset(("ask_spec", "ask_compare", "haggle", "too_expensive", "not_allowed"))
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
        for message in messages:
            if message["role"] == "assistant":
                self._note_own(message["content"], notes)
            else:
                self._note_reply(message["content"], notes)
        return notes

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

    def _note_reply(self, text: str, notes: Notes) -> None:
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
                notes.wanted = max(numbers(tokens(sentence)), default=0) or notes.wanted
            elif meaning.startswith("reason_"):
                notes.reason = meaning.removeprefix("reason_")
            elif meaning in ("resolved", "discount_good"):
                notes.reason = None
            if meaning not in _ABOUT_OFFERS:
                self._note_topics(sentence, meaning, notes)
            notes.refused = notes.refused or meaning in _REFUSALS
            notes.unsuitable = notes.unsuitable or meaning in _UNSUITABLE

    def _note_topics(self, sentence: str, meaning: str, notes: Notes) -> None:
        """Note need, feature and amounts wherever they are named."""
        notes.need = self._first(sentence, "need:") or notes.need
        notes.feature = self._first(sentence, "feature:") or notes.feature
        amounts = sorted(numbers(tokens(sentence)))
        if meaning == "real_limit" and amounts:
            notes.high = amounts[-1]
        elif amounts:
            notes.low, notes.high = amounts[0], amounts[-1]

    def _union(self, text: str) -> int:
        union = 0
        for word in tokens(text):
            union |= self._lexicon.concepts(word) or 0
        return union

    def _first(self, text: str, prefix: str) -> str | None:
        return next(iter(self._lexicon.labels(self._union(text), prefix)), None)

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
        the same words, as long as there are others.
        """
        for _ in range(_TRIES):
            words = " ".join(self._sentence(act, rng, feature) for act in plan)
            if words not in said:
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
                "price": f"{self.catalog.currency}{product.price}",
                "claim": self.catalog.features[str(claimed)].claim,
                "days": self.terms[product.name].days,
            }
        return phrase.format(**slots)


@lru_cache(maxsize=8)
def listener(catalog: Catalog) -> Listener:
    """Return the ear for a shop's customers, one for all who sell there."""
    return Listener(catalog)
