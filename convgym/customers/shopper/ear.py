"""How the shopper understands free text: the scripted customer's ear, and what v1 adds to it.

Besides ``Meaning`` it hears, clause by clause, what is asserted of which product, and what is
denied; prices, discounts and days of delivery; a yes or a no; and remedies for six kinds of
reasons.

A number is a price if it has the shop's currency before it, money's name behind it, or a word such
as "costs" before it and no unit behind it. What is denied is a feature with a "not" shortly before
it, or an "is not" right behind it: "you cannot go wrong, it is light" denies nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from convgym.customers.scripted.understanding import (
    MAX_WORDS,
    REASSURANCE,
    SENTENCE,
    Meaning,
    Understanding,
)
from convgym.shop.catalog import Catalog, catalog_names, load_catalog
from convgym.shop.language import lexicon, numbers, tokens

_NUMBERS = "one two three four five six seven eight nine ten".split()
_DAYS = re.compile(
    r"\b(\d{1,3}|" + "|".join(_NUMBERS) + r")[ -](?:business |working )?(day|week|hour)"
)
_AT_ONCE = {"today": 0, "overnight": 1, "tomorrow": 1}
_SHARE = re.compile(r"\b(\d{1,2}|five|ten)(?:[.,]\d+)? ?(?:%|percent)")
_OFF = re.compile(
    r"\boff\b|\bless\b|discount|rebate|reduc|cheaper|deduct|knock|lower|come down|price"
)
_AMOUNT_OFF = re.compile(r"(\d+(?:,\d{3})*) (?:\w+ )?(?:off|less)\b")
_LOWERED = re.compile(
    r"down to|special price|reduc|lower|cheaper|instead of|let you have|let it go|make it|can do"
)
_UNIT = (
    r"(?! ?(?:%|percent|(?:business |working )?(?:day|week|month|year|hour|minute)s?\b|stars?\b|"
    r"times\b|gb\b|gigabytes?\b|inch|out of))"
)
_COSTING = r"\b(?:costs?|prices?|priced|pay|for|at|only|just|is|to|of)"
_CLAUSE = re.compile(r"\b(?:but|however|although|though|whereas)\b")
_NOT_ONLY = re.compile(r"\bnot (?:only|just)\b")
_BEFORE, _BEHIND = 5, 3
"""How many words before a feature a "not" denies it, and behind it an "is not"."""
_COPULA = frozenset("is are does do it was".split())
_IN_WRITING = frozenset("writing written write summary discuss decide together".split())
_PARTNER = frozenset("partner wife husband spouse writing written together".split())
_RIVAL = frozenset("match competitor competitors rival elsewhere across".split())
_YES = frozenset("yes yeah yep sure indeed certainly absolutely definitely".split())
_NO = frozenset("no nope sorry unfortunately not".split())
_IT = r"(?:it|that|this one|the \w+)"
_AFFIRMING = re.compile(
    rf"{_IT} (?:does|has|is|comes with|includes)(?: (?:indeed|too|that|it|included))*$"
)
_DENYING = re.compile(
    rf"(?:i'm afraid |i am afraid |sadly )?(?:{_IT} )?"
    r"(?:(?:does |has |is )?not|doesn't|hasn't|isn't|lacks)(?: (?:have|include|included|that|it))*$"
)
"""Answers without a yes or a no: "It does.", "I'm afraid it does not have that."."""
_ASKING = re.compile(
    r"(?:so|and|now|well|okay|thank you[^.]*,)?,? ?(?:wh|how|is|are|do|does|could|can|tell)"
)
_DENIED = re.compile(r"\b(?:not|no|never|don't|cannot|without)\b")
_WILLING = (
    r"(?:shall|should|may|can|could|would|want|like|ready|let us|let's|happy|care|wish|do we|is it|"
    r"are we)"
)
_ENDING = (
    r"(?:go ahead|go for it|go through with|have a deal|a deal\b|shake on|seal|"
    r"settle (?:it|this|on)|sign|ring it up|ring up|wrap it|wrap up|pack it|pack up|"
    r"get (?:it|one|this) ready|get you (?:it|one|this)|set (?:it|one) aside|"
    r"put (?:it|one) aside|put you down|proceed|finali[sz]e|complete (?:the|your|this)|"
    r"make it yours|take it home|have it\b|take (?:it|this|that|one)\b|till\b|counter\b|"
    r"checkout|do it\b|decide (?:for|on) it|commit|book it|secure it)"
)
_CLOSING = re.compile(rf"\b{_WILLING}\b[^.?!]{{0,40}}\b{_ENDING}[^.?!]*\?")
"""Ways to ask for the order that name no buying: "Shall we shake on it?"."""
_QUESTIONS = tuple(
    (topic, re.compile("|".join(ways)))
    for topic, ways in (
        (
            "concern",
            (
                r"hesitat|hold(?:ing)? (?:you )?back|in the way|on your mind|stop(?:s|ping)? you",
                r"bother|keep(?:s|ing)? you from|unsure|second thoughts|not quite right|missing",
                r"why not|puts? you off|uncertain|reservation|obstacle|what do you think",
            ),
        ),
        (
            "budget",
            (
                r"how much|what price|price range|spend|afford|comfortable pay|budget|most you",
                r"upper limit|cost you|want to pay|set aside for|figure|how high|ceiling",
            ),
        ),
        (
            "feature",
            (
                r"must.?have|do without|deal.?breaker|essential|matter|look(?:ing)? for in|priorit",
                r"care (?:most )?about|particular|above all|first of all|non.?negotiable",
                r"can't miss|key thing|value most|wish list|decisive|what counts",
            ),
        ),
        (
            "need",
            (
                r"what for|be for|us(?:e|ed|ing) (?:it|the|this|that|them)|used for|do with it",
                r"in mind for|purpose|occasion|who is it for|plans? for|activities",
                r"what brings you|tell me (?:more )?about",
            ),
        ),
    )
)
"""Ways to ask, by topic; the first that fits."""
_VAGUE = 0.05
"""What "a discount" is taken for when no number is said."""


@dataclass(frozen=True, slots=True)
class Claim:
    """What one clause asserts of ``product`` (None: of what is being talked about).

    ``denied`` are the features that it says are missing.
    """

    product: str | None
    prices: tuple[int, ...]
    needs: tuple[str, ...]
    features: tuple[str, ...]
    denied: tuple[str, ...]


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
        self._lexicon = lexicon(catalog)
        self._catalog = catalog
        self._foreign = _foreign_words(catalog, self._lexicon.concepts)
        money = re.escape(catalog.currency)
        self._price = re.compile(
            rf"{money} ?(\d[\d,]*){_UNIT}|\b(\d[\d,]*) ?(?:dollars?|bucks|euros?|pounds?)\b|"
            rf"{_COSTING} (?:(?:is|of|at|just|only) )*(\d[\d,]*)\b{_UNIT}"
        )
        self._smallest_price = min(product.price for product in catalog.products) / 2
        self._remembered = lru_cache(maxsize=8192)(self._read)

    def __reduce__(self) -> tuple[Callable[[Catalog], ShopperEar], tuple[Catalog]]:
        return ear, (self._catalog,)

    def understand(self, text: str) -> Heard:
        """Return what an utterance says."""
        return self._remembered(text) if len(text) <= 240 else self._read(text)

    def _read(self, text: str) -> Heard:
        meaning = _with_idioms(self._inner.understand(text), text)
        lowered = " ".join(REASSURANCE.sub("", text.lower()).split()[:MAX_WORDS])
        lowered = _NOT_ONLY.sub("", lowered)
        known = set(tokens(lowered))
        clauses = [clause for clause, _ in _clauses(lowered)]
        discount, amount, concedes = _concession(clauses)
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
            foreign=any(len(known & words) >= least for words, least in self._foreign),
        )

    def _claims(self, text: str) -> Iterator[Claim]:
        lexicon, bit = self._lexicon, self._lexicon.bit
        named: str | None = None
        for clause, begins in _clauses(text):
            words = tokens(clause)
            if begins:
                named = None
            if not words:
                continue
            masks = [lexicon.concepts(word) or 0 for word in words]
            union = 0
            for mask in masks:
                union |= mask
            product = next((n for mask in masks for n in lexicon.labels(mask, "product:")), named)
            named = product
            prices = () if union & bit["budget"] else self._prices(clause)
            # To ask claims nothing but a price; "you need it for gaming" tells what was heard, "it
            # is for gaming" is a claim.
            asks, reflects = "?" in clause, product is None and union & bit["you"]
            if asks or reflects:
                if prices and (product or not asks):
                    yield Claim(product, prices, (), (), ())
                continue
            if any(word in _IN_WRITING for word in words):
                masks = [0 if w in _PARTNER else m for w, m in zip(words, masks, strict=True)]
            needs, _ = self._asserted(words, masks, "need:")
            features, denied = self._asserted(words, masks, "feature:")
            if needs or features or denied or prices:
                yield Claim(product, prices, needs, features, denied)

    def _asserted(
        self, words: Sequence[str], masks: Sequence[int], prefix: str
    ) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Return which needs, or features, a clause asserts and which it denies."""
        negation = self._lexicon.bit["not"]
        told: dict[str, bool] = {}
        for place, mask in enumerate(masks):
            for name in self._lexicon.labels(mask, prefix) if mask else ():
                before = masks[max(0, place - _BEFORE) : place]
                denied = any(other & negation for other in before) or any(
                    masks[i] & negation and ("'" in words[i] or words[i - 1] in _COPULA)
                    for i in range(place + 1, min(len(words), place + 1 + _BEHIND))
                )
                told[name] = told.get(name, True) and denied
        return (
            tuple(name for name, denied in told.items() if not denied),
            tuple(name for name, denied in told.items() if denied),
        )

    def _prices(self, clause: str) -> tuple[int, ...]:
        if "instal" in clause or ("month" in clause and "pay" in clause):
            return ()
        plain = _AMOUNT_OFF.sub("", clause)
        prices = numbers(next(filter(None, groups)) for groups in self._found(plain))
        return tuple(number for number in prices if number >= self._smallest_price)

    def _found(self, clause: str) -> list[tuple[str, ...]]:
        return [tuple(g.replace(",", "") for g in groups) for groups in self._price.findall(clause)]


def _clauses(text: str) -> Iterator[tuple[str, bool]]:
    """Return the clauses of a text, each with whether it begins a sentence."""
    for sentence in SENTENCE.findall(text):
        question = "?" if "?" in sentence else ""
        for number, clause in enumerate(_CLAUSE.split(sentence)):
            yield clause + question, number == 0


def _concession(clauses: Sequence[str]) -> tuple[float | None, int | None, bool]:
    """Return the share and the amount that are taken off, and whether anything is."""
    for clause in clauses:
        if _DENIED.search(clause):
            continue
        share = _SHARE.search(clause)
        if share and _OFF.search(clause):
            return ({"five": 5, "ten": 10}.get(share[1]) or int(share[1])) / 100, None, True
        off = _AMOUNT_OFF.search(clause)
        if off:
            return None, int(off[1].replace(",", "")[:9]), True
        if "discount" in clause:
            return _VAGUE, None, True
        if _LOWERED.search(clause) and any(map(str.isdigit, clause)):
            return None, None, True
    return None, None, False


def _affirms(text: str) -> bool | None:
    """Return the yes or the no of the first sentence that begins with one, or is one."""
    for sentence in SENTENCE.findall(text):
        words = tokens(sentence)
        first = next(iter(words), "")
        if "?" in sentence:
            continue
        if first in _YES or first in _NO:
            return first in _YES
        said = " ".join(words)
        if _AFFIRMING.match(said) or _DENYING.match(said):
            return _DENYING.match(said) is None
    return None


def _with_idioms(meaning: Meaning, text: str) -> Meaning:
    """Add what idioms say and the words one by one do not: offers to buy, and questions."""
    asks, closes = list(meaning.asks), meaning.closes
    for sentence in SENTENCE.findall(text.lower()):
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
    """Return the shortest time of delivery that is named."""
    days = [at_once for word, at_once in _AT_ONCE.items() if word in words]
    for said, unit in _DAYS.findall(text):
        number = int(said) if said.isdigit() else _NUMBERS.index(said) + 1
        days.append(number // 24 if unit == "hour" else number * (7 if unit == "week" else 1))
    return min(days, default=None)


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
