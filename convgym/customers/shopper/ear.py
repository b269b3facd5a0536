"""How the shopper understands free text: the scripted customer's ear, and what v1 adds to it.

Besides ``Meaning`` it hears what is asserted and denied of which product, and which one is
recommended (``claims``); prices, discounts and days of delivery (``figures``); a yes or a no and
questions in everyday words (``idioms``); and remedies for six kinds of reasons. A slip of the pen
is put right in long words alone: "lacks" is not "racks".
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache

from convgym.customers.scripted.understanding import (
    MAX_WORDS,
    REASSURANCE,
    SENTENCE,
    Meaning,
    understanding,
)
from convgym.customers.shopper.claims import Claim, Claims
from convgym.customers.shopper.figures import Concession, concession
from convgym.customers.shopper.idioms import affirms, with_idioms
from convgym.shop.catalog import Catalog, catalog_names, load_catalog
from convgym.shop.language import lexicon, tokens
from convgym.shop.quantities import in_digits

_PARTNER = re.compile(
    r"\b(?:partner|wife|husband|spouse|in writing|written|summary)\b|"
    r"\b(?:decide|discuss|talk|look|think|go)\b[^.?!]{0,25}\btogether\b"
)
_WRITING = re.compile(r"\b(?:in writing|written|summary)\b")
_RIVAL = re.compile(
    r"\b(?:i|we|we'll|i'll|can|will|could|would|gladly|happily|to) match\b|"
    r"\bcompetitors?\b|\brival\b|\belsewhere\b|\bacross the\b"
)
_CLAUSE = re.compile(r"\b(?:but|however|although|though|whereas)\b")
_MATCHING = re.compile(r"\bmatch\b")


@dataclass(frozen=True, slots=True)
class Heard:
    """What one utterance says; ``meaning`` is what the scripted customer would hear.

    ``concession`` is what is taken off the price, if anything is; ``affirms`` is a yes, a no, or
    None; ``again`` asks for the shopper's last words once more. ``remedies`` are kinds of reasons.
    """

    meaning: Meaning
    claims: tuple[Claim, ...]
    concession: Concession | None
    again: bool
    affirms: bool | None
    remedies: tuple[str, ...]
    foreign: bool

    @property
    def acts(self) -> int:
        """How many separate things the utterance wants of the customer."""
        extra = len(set(self.remedies) - set(self.meaning.answers))
        return self.meaning.acts + extra


class ShopperEar:
    """Reads utterances about one catalogue; results for short texts are remembered."""

    def __init__(self, catalog: Catalog) -> None:
        careful = lexicon(catalog, careful=True)
        self._inner = understanding(catalog, careful=True)
        self._claims = Claims(catalog, careful)
        self._catalog = catalog
        self._foreign = _foreign_words(catalog, careful.concepts)
        names = "|".join(re.escape(product.name.lower()) for product in catalog.products)
        self._goods = re.compile(rf"\b(?:{names}|{re.escape(catalog.item)})\b")
        self._remembered = lru_cache(maxsize=8192)(self._read)

    def __reduce__(self) -> tuple[Callable[[Catalog], ShopperEar], tuple[Catalog]]:
        return ear, (self._catalog,)

    def understand(self, text: str) -> Heard:
        """Return what an utterance says."""
        return self._remembered(text) if len(text) <= 240 else self._read(text)

    def _read(self, text: str) -> Heard:
        meaning, again = with_idioms(self._inner.understand(text), text)
        lowered = text.lower().replace("\u2019", "'").replace("\u2212", "-")
        lowered = " ".join(REASSURANCE.sub("", lowered).split()[:MAX_WORDS])
        in_figures = in_digits(lowered)
        claims, recommended = self._claims.read(in_figures)
        if meaning.recommends != recommended:
            meaning = replace(meaning, recommends=recommended)
        concession = self._concession(in_figures)
        known = frozenset(tokens(lowered))
        return Heard(
            meaning=meaning,
            claims=claims,
            concession=concession,
            again=again,
            affirms=affirms(lowered),
            remedies=_remedies(lowered, meaning, concession is not None),
            foreign=any(len(known & words) >= least for words, least in self._foreign),
        )

    def _concession(self, text: str) -> Concession | None:
        clauses = [part for sentence in SENTENCE.findall(text) for part in _CLAUSE.split(sentence)]
        if "free" in text or "nothing" in text:
            clauses = [self._goods.sub("product", clause) for clause in clauses]
        return concession(clauses)


def _remedies(text: str, meaning: Meaning, concedes: bool) -> tuple[str, ...]:
    """Return the kinds of reasons that a message would put right; to ask puts nothing right."""
    kinds = list(meaning.answers)
    if concedes and "price" not in kinds:
        kinds.append("price")
    for kind, offered, even_asked in (
        ("partner", _PARTNER, _WRITING),
        ("rival", _RIVAL, _MATCHING),
    ):
        if any(
            (even_asked if "?" in sentence else offered).search(sentence)
            for sentence in SENTENCE.findall(text)
        ):
            kinds.append(kind)
    return tuple(kinds)


def _foreign_words(
    catalog: Catalog, concepts: Callable[[str], int | None]
) -> tuple[tuple[frozenset[str], int], ...]:
    """Return the words of other shops that mean nothing in this one, and how many give them away.

    A product's name does so alone; of the words for what is sold there two do: "our return policy"
    is no insurance.
    """
    names: set[str] = set()
    groups: list[tuple[frozenset[str], int]] = []
    for name in catalog_names():
        if name != catalog.name:
            other = load_catalog(name)
            items = {w for w in tokens(f"{other.item} {other.items}") if concepts(w) is None}
            groups.append((frozenset(items), 2))
            names.update(product.name.lower() for product in other.products)
    unknown = frozenset(word for word in names if concepts(word) is None)
    return ((unknown, 1), *groups)


@lru_cache(maxsize=8)
def ear(catalog: Catalog) -> ShopperEar:
    """Return the ear for a catalogue, one for all who share the catalogue."""
    return ShopperEar(catalog)
