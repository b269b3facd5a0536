"""How the scripted customer understands free text: words to concepts to dialogue acts.

The pipeline is small, documented and fast (a few microseconds for a known utterance):

1. ``tokens``: lower case, accents stripped, words and numbers ("$1,200" and "1200" are one).
2. ``Lexicon.concepts``: each word becomes a bit mask of concepts. Unknown words are tried again
   without their ending (-s, -ed, -ing, -ly) and, from four letters on, with one typing error
   (a letter dropped, added, changed or two swapped) put right.
3. ``Understanding``: the sentence's concepts decide its dialogue acts, by the rules in
   ``Understanding._sentence``. A sentence is a question if it ends in "?" or starts like one.

Word order matters only where a bag of words would be too generous: an offer to buy needs a
proposing word ("would like to", "shall i", "ready to") shortly before the buying word.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from convgym.shop.catalog import Catalog
from convgym.shop.language import OBJECTIONS, lexicon, numbers, tokens

MAX_WORDS = 60
"""Longer messages are over-long: the customer reads only so far."""

_REMEMBERED, _MEMORABLE = 8192, 240
"""How many utterances an ear remembers, and of how many characters: a few dozen MB at worst."""


SENTENCE = re.compile(r"[^.!?;]+[.!?;]*")
"""What is read as one sentence."""
# "Don't worry" denies nothing that follows it.
REASSURANCE = re.compile(r"\b(?:don't|dont|do not|no) (?:worry|worries|problem|doubt)\b", re.I)
_CHECK_OUT = re.compile(r"\bcheck out\b", re.I)
_PERCENT = re.compile(r"(?<=\d) ?%")
_DECIMALS = re.compile(r"(?<=\d)\.\d+")


@dataclass(frozen=True, slots=True)
class Meaning:
    """What one utterance says.

    ``asks`` holds "need", "feature", "budget", "concern" or "open"; ``answers`` holds objection
    kinds; ``recommends`` is a product name; ``claimed_*`` is what the utterance asserts of it.
    """

    words: int
    garbled: bool
    asks: tuple[str, ...]
    products: tuple[str, ...]
    recommends: str | None
    answers: tuple[str, ...]
    closes: bool
    pushy: bool
    courtesy: bool
    claimed_prices: tuple[int, ...]
    claimed_needs: tuple[str, ...]
    claimed_features: tuple[str, ...]

    @property
    def acts(self) -> int:
        """How many separate things the utterance wants of the customer."""
        return (
            len(self.asks)
            + max(len(self.products), bool(self.recommends))
            + len(self.answers)
            + self.closes
        )


@dataclass(slots=True)
class _Heard:
    """What the sentences so far say; the fields are those of ``Meaning``, in the making."""

    words: int = 0
    garbled: bool = False
    asks: list[str] = field(default_factory=list)
    products: list[str] = field(default_factory=list)
    recommends: str | None = None
    answers: set[str] = field(default_factory=set)
    closes: bool = False
    pushy: bool = False
    courtesy: bool = False
    prices: list[int] = field(default_factory=list)
    needs: set[str] = field(default_factory=set)
    features: set[str] = field(default_factory=set)


class Understanding:
    """Reads utterances about one catalogue; results for short texts are remembered.

    ``careful`` is for its lexicon (``convgym.shop.language.Lexicon``).
    """

    def __init__(self, catalog: Catalog, careful: bool = False) -> None:
        self.lexicon = lexicon(catalog, careful)
        bit = self.lexicon.bit
        self._any_need = sum(mask for name, mask in bit.items() if name.startswith("need:"))
        self._any_feature = sum(mask for name, mask in bit.items() if name.startswith("feature:"))
        self._any_product = sum(mask for name, mask in bit.items() if name.startswith("product:"))
        self._any_answer = sum(bit[kind] for kind in OBJECTIONS)
        # Smaller numbers are days, hours or years of warranty.
        self._smallest_price = min(product.price for product in catalog.products) / 2
        self._catalog, self._careful = catalog, careful
        self._remembered = lru_cache(maxsize=_REMEMBERED)(self._read)

    def __reduce__(self) -> tuple[Callable[[Catalog, bool], Understanding], tuple[Catalog, bool]]:
        # Copies, in other processes too, are the one that everybody there shares.
        return understanding, (self._catalog, self._careful)

    def understand(self, text: str) -> Meaning:
        """Return what an utterance says."""
        return self._remembered(text) if len(text) <= _MEMORABLE else self._read(text)

    def _read(self, text: str) -> Meaning:
        heard = _Heard()
        spoken = _CHECK_OUT.sub("checkout", REASSURANCE.sub("", text))
        spoken = _PERCENT.sub(" percent", _DECIMALS.sub("", spoken))
        for sentence in SENTENCE.findall(spoken):
            words = tokens(sentence)
            room = max(0, MAX_WORDS - heard.words)
            heard.words += len(words)
            words = words[:room]
            if words:
                self._sentence(sentence, words, heard)
        return Meaning(
            words=heard.words,
            garbled=heard.garbled or (heard.words == 0 and bool(spoken.strip())),
            asks=tuple(heard.asks),
            products=tuple(heard.products),
            recommends=heard.recommends,
            answers=tuple(sorted(heard.answers)),
            closes=heard.closes,
            pushy=heard.pushy,
            courtesy=heard.courtesy,
            claimed_prices=tuple(heard.prices),
            claimed_needs=tuple(sorted(heard.needs)),
            claimed_features=tuple(sorted(heard.features)),
        )

    def _sentence(self, sentence: str, words: list[str], heard: _Heard) -> None:
        """Add what one sentence says, given its words, to what was heard before."""
        lexicon, bit = self.lexicon, self.lexicon.bit
        masks = [lexicon.concepts(token) for token in words]
        known = [mask or 0 for mask in masks]
        union = 0
        for mask in known:
            union |= mask
        if self._is_garbled(words, masks):
            heard.garbled = True
            return
        question = "?" in sentence or bool(known[0] & bit["ask"])
        negated = bool(union & bit["not"])
        named = lexicon.labels(union, "product:") if union & self._any_product else ()
        heard.products += [name for name in named if name not in heard.products]
        if self._proposes_to_buy(words, known) and not negated:
            heard.closes = True
            if not question:
                heard.pushy = heard.pushy or not self._offers(known)
        elif question and not named:
            heard.asks += [ask for ask in self._questions(union) if ask not in heard.asks]
        if "!" in sentence and union & bit["push"]:
            heard.pushy = True
        if not question or named:
            self._claims(union, words, named, question, negated, heard)
        heard.courtesy = heard.courtesy or bool(union & (bit["greet"] | bit["thanks"]))

    def _claims(
        self,
        union: int,
        words: list[str],
        named: Sequence[str],
        question: bool,
        negated: bool,
        heard: _Heard,
    ) -> None:
        """Add what a sentence asserts: answers to objections, a product, its price, its virtues."""
        lexicon, bit = self.lexicon, self.lexicon.bit
        if union & self._any_answer and not negated:
            heard.answers.update(kind for kind in OBJECTIONS if union & bit[kind])
        if named:
            if heard.recommends is None and not negated:
                heard.recommends = named[0]
            if not union & bit["budget"]:
                heard.prices += self._prices(words)
        # "You need it for gaming" tells what was heard, "it is for gaming" is a claim.
        if not negated and not question and (named or not union & bit["you"]):
            if union & self._any_need:
                heard.needs.update(lexicon.labels(union, "need:"))
            if union & self._any_feature:
                heard.features.update(lexicon.labels(union, "feature:"))

    def _questions(self, union: int) -> list[str]:
        """Return what a question asks for; the most specific reading wins."""
        bit = self.lexicon.bit
        if union & bit["concern"]:
            return ["concern"]
        if union & bit["budget"]:
            return ["budget"]
        asks: list[str] = []
        if union & (bit["important"] | self._any_feature):
            asks.append("feature")
        if union & self._any_need or (union & bit["use"] and not asks):
            asks.append("need")
        if not asks and union & bit["open"]:
            asks.append("open")
        return asks

    def _prices(self, words: list[str]) -> list[int]:
        return [number for number in numbers(words) if number >= self._smallest_price]

    def _proposes_to_buy(self, words: list[str], known: list[int]) -> bool:
        """Tell whether a proposing word comes at most six words before "buy" or "take it"."""
        bit = self.lexicon.bit
        for i, mask in enumerate(known):
            buys = mask & bit["buy"] or (
                mask & bit["get"] and words[i + 1 : i + 2] in (["it"], ["one"], ["this"], ["that"])
            )
            if buys and (i == 0 or any(known[j] & bit["propose"] for j in range(max(0, i - 6), i))):
                return True
        return False

    def _offers(self, known: list[int]) -> bool:
        return any(mask & self.lexicon.bit["propose"] for mask in known)

    def _is_garbled(self, words: list[str], masks: list[int | None]) -> bool:
        """Tell whether a sentence is mostly non-words, or the same words over and over."""
        unknown = sum(mask is None for mask in masks)
        if len(words) >= 3 and unknown > 0.6 * len(words):
            return True
        return len(words) >= 6 and len(set(words)) < 0.6 * len(words)


def understanding(catalog: Catalog, careful: bool = False) -> Understanding:
    """Return the ear for a catalogue, one for all who share the catalogue."""
    return _shared(catalog, careful)


_shared = lru_cache(maxsize=8)(Understanding)
