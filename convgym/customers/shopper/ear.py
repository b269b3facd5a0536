"""How the shopper understands free text: the scripted customer's ear, and what v1 adds to it.

Besides ``Meaning`` it hears, sentence by sentence, what is asserted of which product; discounts and
days of delivery in numbers; a yes or a no; and remedies for six kinds of reasons.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache

from convgym.customers.scripted.understanding import _SENTENCE, MAX_WORDS, Meaning, Understanding
from convgym.shop.catalog import Catalog, catalog_names, load_catalog
from convgym.shop.language import numbers, tokens

_NUMBERS = "one two three four five six seven eight nine ten".split()
_DAYS = re.compile(r"\b(\d{1,2}|" + "|".join(_NUMBERS) + r")[ -](?:business |working )?(day|week)")
_SHARE = re.compile(r"\b(\d{1,2}|five|ten)(?:[.,]\d+)? ?(?:%|percent)")
_AMOUNT_OFF = re.compile(r"(\d+(?:,\d{3})*) (?:\w+ )?(?:off|less)\b")
_CONCEDES = frozenset("discount off instead down special reduce reduced cheaper".split())
_PARTNER = frozenset("partner wife husband spouse writing written together".split())
_RIVAL = frozenset("match competitor competitors rival elsewhere across".split())
_YES = frozenset("yes yeah yep sure indeed certainly absolutely definitely".split())
_NO = frozenset("no nope sorry unfortunately not".split())
_ASKING = re.compile(
    r"(?:so|and|now|well|okay|thank you[^.]*,)?,? ?(?:wh|how|is|are|do|does|could|can|tell)"
)
_DENIED = re.compile(r"\b(?:not|no|never|don't|cannot|without)\b")
_WILLING = r"(?:shall|should|may|can|could|would|want|like|ready|let us|let's|happy|care|wish|do we|is it|are we)"
_ENDING = (
    r"(?:go ahead|go for it|go through with|have a deal|a deal\b|shake on|seal|settle (?:it|this|on)|sign|"
    r"ring it up|ring up|wrap it|wrap up|pack it|pack up|get (?:it|one|this) ready|get you (?:it|one|this)|"
    r"set (?:it|one) aside|put (?:it|one) aside|put you down|proceed|finali[sz]e|complete (?:the|your|this)|"
    r"make it yours|take it home|have it\b|take (?:it|this|that|one)\b|till\b|counter\b|checkout|"
    r"do it\b|decide (?:for|on) it|commit|book it|secure it)"
)
_CLOSING = re.compile(rf"\b{_WILLING}\b[^.?!]{{0,40}}\b{_ENDING}[^.?!]*\?")
"""Ways to ask for the order that name no buying: "Shall we shake on it?"."""
_QUESTIONS = (
    (
        "concern",
        re.compile(
            r"hesitat|hold(?:ing)? (?:you )?back|in the way|on your mind|stop(?:s|ping)? you|bother|"
            r"keep(?:s|ing)? you from|unsure|second thoughts|not quite right|missing|why not|put you off|"
            r"puts you off|uncertain|reservation|obstacle|what do you think"
        ),
    ),
    (
        "budget",
        re.compile(
            r"how much|what price|price range|spend|afford|comfortable pay|budget|most you|upper limit|"
            r"cost you|want to pay|set aside for|figure|how high|ceiling"
        ),
    ),
    (
        "feature",
        re.compile(
            r"must.?have|do without|deal.?breaker|essential|matter|look(?:ing)? for in|priorit|care (?:most )?about|"
            r"particular|above all|first of all|non.?negotiable|can't miss|key thing|value most|wish list|"
            r"decisive|what counts"
        ),
    ),
    (
        "need",
        re.compile(
            r"what for|be for|us(?:e|ed|ing) (?:it|the|this|that|them)|used for|do with it|in mind for|purpose|"
            r"occasion|who is it for|plans? for|activities|what brings you|tell me (?:more )?about"
        ),
    ),
)
"""Ways to ask, by topic; the first that fits."""
_VAGUE = 0.05
"""What "a discount" is taken for when no number is said."""


@dataclass(frozen=True, slots=True)
class Claim:
    """What one sentence asserts, or denies, of ``product`` (None: of what is being talked about)."""

    product: str | None
    prices: tuple[int, ...]
    needs: tuple[str, ...]
    features: tuple[str, ...]
    denied: bool


@dataclass(frozen=True, slots=True)
class Heard:
    """What one utterance says; ``meaning`` is what the scripted customer would hear.

    ``discount`` is a share of the price, ``amount`` is money off; ``days`` is the shortest time of
    delivery that is named. ``affirms`` is a yes, a no, or None. ``remedies`` are kinds of reasons.
    """

    meaning: Meaning
    claims: tuple[Claim, ...]
    discount: float | None
    amount: int | None
    concedes: bool
    days: int | None
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
        self._inner = Understanding(catalog)
        self._lexicon = self._inner.lexicon
        self._catalog = catalog
        self._foreign = _foreign_words(catalog, self._lexicon.concepts)
        self._remembered = lru_cache(maxsize=8192)(self._read)

    def __reduce__(self) -> tuple[Callable[[Catalog], ShopperEar], tuple[Catalog]]:
        return ear, (self._catalog,)

    def understand(self, text: str) -> Heard:
        """Return what an utterance says."""
        return self._remembered(text) if len(text) <= 240 else self._read(text)

    def _read(self, text: str) -> Heard:
        meaning = _with_idioms(self._inner.understand(text), text)
        lowered = " ".join(text.lower().split()[:MAX_WORDS])
        words = tokens(lowered)
        known = set(words)
        discount, amount, concedes = self._discount(lowered, known)
        remedies = list(meaning.answers)
        if concedes and "price" not in remedies:
            remedies.append("price")
        if known & _PARTNER:
            remedies.append("partner")
        if known & _RIVAL:
            remedies.append("rival")
        return Heard(
            meaning=meaning,
            claims=tuple(self._claims(lowered)),
            discount=discount,
            amount=amount,
            concedes=concedes,
            days=_days(lowered, known),
            affirms=_affirms(lowered),
            remedies=tuple(remedies),
            foreign=bool(known & self._foreign),
        )

    def _discount(self, text: str, words: set[str]) -> tuple[float | None, int | None, bool]:
        """Return the share and the amount that are taken off, and whether anything is."""
        negated = bool(words & {"not", "cannot", "can't", "no", "never"})
        if negated:
            return None, None, False
        share = _SHARE.search(text)
        if share:
            said = share[1]
            value = {"five": 5, "ten": 10}.get(said) or int(said)
            return value / 100, None, True
        off = _AMOUNT_OFF.search(text)
        if off:
            return None, int(off[1].replace(",", "")), True
        if "discount" in words:
            return _VAGUE, None, True
        return None, None, bool(words & _CONCEDES and numbers(tokens(text)))

    def _claims(self, text: str) -> list[Claim]:
        lexicon, bit = self._lexicon, self._lexicon.bit
        claims = []
        for sentence in _SENTENCE.findall(text):
            words = tokens(sentence)
            if not words or "?" in sentence:
                continue
            union = 0
            places: dict[str, int] = {}
            for place, word in enumerate(words):
                mask = lexicon.concepts(word) or 0
                union |= mask
                for name in lexicon.labels(mask, "product:") if mask else ():
                    places.setdefault(name, place)
            named = min(places, key=lambda name: places[name]) if places else None
            # "You need it for gaming" tells what was heard, "it is for gaming" is a claim.
            if named is None and union & bit["you"]:
                continue
            needs = lexicon.labels(union, "need:")
            features = lexicon.labels(union, "feature:")
            prices = () if union & bit["budget"] else tuple(self._inner._prices(words))
            if needs or features or prices:
                denied = bool(union & bit["not"])
                claims.append(Claim(named, prices, needs, features, denied))
        return claims


def _affirms(text: str) -> bool | None:
    """Return the yes or the no that a sentence begins with, of the first that does."""
    for sentence in _SENTENCE.findall(text):
        first = next(iter(tokens(sentence)), "")
        if "?" not in sentence and (first in _YES or first in _NO):
            return first in _YES
    return None


def _with_idioms(meaning: Meaning, text: str) -> Meaning:
    """Add what idioms say and the words one by one do not: offers to buy, and questions."""
    asks, closes = list(meaning.asks), meaning.closes
    for sentence in _SENTENCE.findall(text.lower()):
        asks_something = "?" in sentence or _ASKING.match(sentence.strip())
        if not closes and _CLOSING.search(sentence) and not _DENIED.search(sentence):
            closes = True
        elif asks_something and not meaning.products and not (meaning.asks or closes):
            asks += [ask for ask, idiom in _QUESTIONS if idiom.search(sentence)][:1]
    # "Whenever you are ready to order" asks for nothing else.
    if closes and not meaning.closes:
        asks = []
    if closes == meaning.closes and tuple(asks) == meaning.asks:
        return meaning
    return replace(meaning, closes=closes, asks=tuple(dict.fromkeys(asks)), courtesy=False)


def _days(text: str, words: set[str]) -> int | None:
    days = [
        (int(number) if number.isdigit() else _NUMBERS.index(number) + 1)
        * (7 if unit == "week" else 1)
        for number, unit in _DAYS.findall(text)
    ]
    if "tomorrow" in words:
        days.append(1)
    if "today" in words:
        days.append(0)
    return min(days, default=None)


def _foreign_words(catalog: Catalog, concepts: Callable[[str], int | None]) -> frozenset[str]:
    """Return the words of other shops that mean nothing in this one."""
    words: set[str] = set()
    for name in catalog_names():
        if name != catalog.name:
            other = load_catalog(name)
            words.update(tokens(f"{other.item} {other.items}"))
            words.update(product.name.lower() for product in other.products)
    return frozenset(word for word in words if concepts(word) is None and len(word) > 3)


@lru_cache(maxsize=8)
def ear(catalog: Catalog) -> ShopperEar:
    """Return the ear for a catalogue, one for all who share the catalogue."""
    return ShopperEar(catalog)
