"""What a seller asserts and denies of which product, and which product he recommends.

Of the products in a message those that are dismissed do not count ("forget the Aero", "not the
Aero", "better than the Aero"). Of the others the last counts that a word of recommending goes with
("take", "I suggest", "would be better"), and without such a word the first.

What is denied is a feature with a "not" shortly before it, an "is not" or "is missing" behind it,
or a word that says the opposite of what the shop claims: "the battery life is short" denies a long
one, "a short contract" denies nothing where the claim is a short one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from convgym.customers.scripted.understanding import SENTENCE
from convgym.customers.shopper.figures import RIVALS, Delivery, Prices, deliveries
from convgym.shop.catalog import Catalog
from convgym.shop.language import Lexicon, tokens

_CLAUSE = re.compile(r"\b(?:but|however|although|though|whereas)\b")
_HARMLESS = re.compile(
    r"\bnot (?:only|just|to mention)\b|\b(?:can't|cannot|can not|won't|never) go wrong\b|"
    r"\b(?:don't|do not|wouldn't|would not) (?:hesitate|miss|forget that)\b|\bwhy (?:not|"
    r"don't you)\b|"
    r"^\s*(?:no|nope|sorry)[,.!:]|\bno (?:doubt|wonder|matter|time)\b|\bin short\b|"
    r"\bin the long run\b|"
    r"\b(?:business|working) (?=days?\b)|\btime frame\b|\bon display\b|\bgood job\b|"
    r"\bhome delivery\b|"
    r"\b(?:no|extra|additional|free|without|at no|small|same) (?:\w+ )?(?:of )?charges?\b|"
    r"\bdeliver\w* (?:to your )?(?:home|house|office|school)\b|\bour (?:company|business|club|"
    r"office)\b|"
    r"\bopen (?:on )?holidays?\b|\btake your time\b"
)
"""What denies and claims nothing, whatever its words do one by one."""
_ALL_BUT = re.compile(r"\b(everything|all|anything) but\b")
_ENDS_DENIED = re.compile(
    r"\b(?:does not|doesn't|hasn't|has not|lacks|isn't|is not|(?:is|are) (?:missing|absent))"
    r"(?: (?:have|got|include|included|offer|there|part of it))*\W*$"
)
"""An end that denies what the same part of a clause named before."""
_WISHED = re.compile(
    r"\b(?:see|understand) (?:why|that)\b|\bwould be (?:useful|nice|handy|good|helpful)\b"
)
"""Clauses that speak of what somebody would like, and claim nothing."""
_BEFORE, _BEHIND = 5, 3
"""How many words before a feature a "not" denies it, and behind it an "is not"."""
_COPULA = frozenset("is are does do it was isn't aren't seems feels looks".split())
_MORE_NOT = frozenset(
    "nor none nothing hasn't haven't aren't wasn't didn't hardly barely lacks lack lacking "
    "except".split()
)
_LITTLE = frozenset("short small low little light few tiny limited weak slow narrow brief".split())
_MUCH = frozenset("long big large high lots good best highest bright strong heavy huge".split())
_BAD = frozenset(
    "poor bad terrible awful lousy mediocre disappointing uncomfortable hard dim worse "
    "worst".split()
)
_ADVERBS = frozenset(
    "rather quite very too a bit somewhat only just pretty fairly really so not".split()
)
_DISMISSING = frozenset(
    "forget than unlike instead skip drop ignore versus vs compared forgot nor except "
    "besides".split()
)
_RECOMMENDING = frozenset(
    "recommend recommending suggest suggesting offer consider propose choose take try pick go get "
    "buy"
    " prefer rather advise about choice".split()
)
_PRAISING = frozenset("choice best better ideal perfect right suits suit fits fit great".split())
_NOBODY: frozenset[str] = frozenset()
_LEADING = (
    _DISMISSING | _RECOMMENDING | {*"the our this of to with over i you we would should".split()}
)
_WORD = re.compile(r"[a-z']+")
_NEAR, _AROUND = 4, 6
"""How many words before a name dismiss it; how many around it recommend it."""
_FAMILY = frozenset("partner wife husband spouse writing written together".split())
_IN_WRITING = frozenset("writing written write summary discuss decide together".split())


@dataclass(frozen=True, slots=True)
class Claim:
    """What one clause asserts of ``product`` (None: of what is being talked about).

    ``denied`` are the features that it says are missing, ``deliveries`` the times it names.
    """

    product: str | None
    prices: tuple[int, ...]
    needs: tuple[str, ...]
    features: tuple[str, ...]
    denied: tuple[str, ...]
    deliveries: tuple[Delivery, ...] = ()


@dataclass(frozen=True, slots=True)
class _Segment:
    """A clause, or what of it speaks of one product; ``subject``: no dismissed one."""

    text: str
    words: Sequence[str]
    masks: Sequence[int]
    name: str | None
    subject: bool
    asks: bool
    begins: bool


class Claims:
    """Reads claims about the products of one catalogue."""

    def __init__(self, catalog: Catalog, lexicon: Lexicon) -> None:
        self._lexicon, self._prices = lexicon, Prices(catalog)
        bit = lexicon.bit
        self._not, self._you = bit["not"], bit["you"]
        self._any = {
            prefix: sum(mask for name, mask in bit.items() if name.startswith(prefix))
            for prefix in ("product:", "need:", "feature:")
        }
        self._wants: dict[str, frozenset[str]] = {}
        for name, feature in catalog.features.items():
            said = set(tokens(f"{feature.claim} {feature.question}"))
            opposite = _MUCH - said if said & _LITTLE else _LITTLE if said & _MUCH else frozenset()
            self._wants[name] = opposite | _BAD

    def read(self, text: str) -> tuple[tuple[Claim, ...], str | None]:
        """Return the claims in a lower-case text in digits, and the product it recommends."""
        segments = list(self._segments(text))
        return tuple(self._claims(segments)), self._recommended(segments)

    def _segments(self, text: str) -> Iterator[_Segment]:
        """Split a text at its sentences, at "but", and where another product is named."""
        for sentence in SENTENCE.findall(text):
            asks = "?" in sentence
            begins = True
            plain = _ALL_BUT.sub(r"\1 except", _HARMLESS.sub(" ", _without_rivals(sentence)))
            for clause in _CLAUSE.split(plain):
                for piece, words in self._pieces(clause):
                    masks = [self._lexicon.concepts(word) or 0 for word in words]
                    place = self._place(masks)
                    name = None
                    if place is not None:
                        name = self._lexicon.labels(masks[place], "product:")[0]
                    subject = place is None or not self._dismisses(words[:place], masks[:place])
                    yield _Segment(piece, words, masks, name, subject, asks, begins)
                    begins = False

    def _pieces(self, clause: str) -> Iterator[tuple[str, list[str]]]:
        """Yield the parts of a clause with their words: from every name on a new one."""
        words = tokens(clause)
        if not words:
            return
        concepts, product = self._lexicon.concepts, self._any["product:"]
        named = [word for word in words if (concepts(word) or 0) & product]
        start = end = 0
        for before, name in pairwise(named):
            end = clause.find(before, end) + len(before)
            if name == before:
                continue
            cut = clause.find(name, end)
            # "Than the", "take the" go with the name that they stand before.
            for match in reversed(list(_WORD.finditer(clause, end, cut))):
                if match[0] not in _LEADING and not (concepts(match[0]) or 0) & self._not:
                    break
                cut = match.start()
            yield clause[start:cut], tokens(clause[start:cut])
            start = cut
        yield clause[start:], tokens(clause[start:])

    def _place(self, masks: Sequence[int]) -> int | None:
        product = self._any["product:"]
        return next((place for place, mask in enumerate(masks) if mask & product), None)

    def _dismisses(self, words: Sequence[str], masks: Sequence[int]) -> bool:
        """Tell whether the words before a name dismiss it."""
        near = range(max(0, len(words) - _NEAR), len(words))
        return any(words[i] in _DISMISSING or masks[i] & self._not for i in near) or (
            "over" in words[-2:]
        )

    def _recommended(self, segments: Sequence[_Segment]) -> str | None:
        first = last = None
        for segment in segments:
            if segment.name is None or not segment.subject:
                continue
            place = self._place(segment.masks) or 0
            around = segment.words[max(0, place - _AROUND) : place + _AROUND + 1]
            denied = any(mask & self._not for mask in segment.masks) or bool(
                _MORE_NOT & {*segment.words}
            )
            if _RECOMMENDING & {*segment.words[max(0, place - _AROUND) : place]} or (
                _PRAISING & {*around} and not denied
            ):
                last = segment.name
            elif first is None and not denied:
                first = segment.name
        return last or first

    def _claims(self, segments: Sequence[_Segment]) -> Iterator[Claim]:
        named: str | None = None
        for segment in segments:
            if segment.begins:
                named = None
            if segment.name is not None and segment.subject:
                named = segment.name
            yield from self._claim(segment, named)

    def _claim(self, segment: _Segment, product: str | None) -> Iterator[Claim]:
        words, masks = segment.words, list(segment.masks)
        union = 0
        for mask in masks:
            union |= mask
        prices = self._prices.find(segment.text, product is not None)
        # To ask claims nothing but a price; "you need it for gaming" tells what was heard, "it is
        # for gaming" is a claim.
        times = () if segment.asks else tuple(deliveries(segment.text))
        silent = segment.asks or (product is None and union & self._you)
        if silent or _WISHED.search(segment.text):
            if times or (prices and (product or not segment.asks)):
                yield Claim(product, prices, (), (), (), times)
            return
        if not union & (self._any["need:"] | self._any["feature:"]):
            if prices or times:
                yield Claim(product, prices, (), (), (), times)
            return
        if any(word in _IN_WRITING for word in words):
            masks = [0 if w in _FAMILY else m for w, m in zip(words, masks, strict=True)]
        parts = _parts(segment.text, len(words))
        needs, _ = self._asserted(words, masks, parts, "need:")
        features, denied = self._asserted(words, masks, parts, "feature:")
        if needs or features or denied or prices or times:
            yield Claim(product, prices, needs, features, denied, times)

    def _asserted(
        self, words: Sequence[str], masks: Sequence[int], parts: Sequence[int], prefix: str
    ) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Return which needs, or features, a clause asserts and which it denies.

        ``parts`` are the numbers of the words' parts between commas; of one that is denied by the
        end of the clause the number is negative.
        """
        told: dict[str, bool] = {}
        for place, mask in enumerate(masks):
            if not mask & self._any[prefix] or "than" in words[max(0, place - _NEAR) : place]:
                continue
            near = parts.index(parts[place])
            for name in self._lexicon.labels(mask, prefix):
                denied = parts[place] < 0 or self._negated(words, masks, place)
                opposite = self._wants.get(name, _NOBODY)
                if opposite and _opposed(words, near, place, opposite):
                    denied = not denied
                told[name] = told.get(name, True) and denied
        return (
            tuple(name for name, denied in told.items() if not denied),
            tuple(name for name, denied in told.items() if denied),
        )

    def _negated(self, words: Sequence[str], masks: Sequence[int], place: int) -> bool:
        """Tell whether a "not" stands before a word, or an "is not" behind it."""
        before = range(max(0, place - _BEFORE), place)
        if any(masks[i] & self._not or words[i] in _MORE_NOT for i in before):
            return True
        behind = range(place + 1, min(len(words), place + 1 + _BEHIND))
        return any(
            masks[i] & self._not and ("'" in words[i] or words[i - 1] in _COPULA) for i in behind
        )


def _opposed(words: Sequence[str], near: int, place: int, opposite: frozenset[str]) -> bool:
    """Tell whether a word says the opposite: "a short battery life", "the battery is weak".

    ``near`` is the place of the first word of the same part of the clause.
    """
    if opposite & {*words[max(near, place - 2) : place]}:
        return True
    behind = place + 1
    if words[behind : behind + 1] and words[behind] not in _COPULA:
        behind += 1
    if behind >= len(words) or words[behind] not in _COPULA:
        return False
    said = next((word for word in words[behind + 1 : behind + 5] if word not in _ADVERBS), None)
    return said in opposite


def _parts(text: str, words: int) -> list[int]:
    """Return for every word of a clause in which of its parts between commas it stands.

    A part that is denied by the end of the clause has a negative number: the last one, or the only
    one before a last one such as "that it lacks".
    """
    sizes = [len(tokens(part)) for part in text.split(",")] if "," in text else [words]
    numbers = [number for number, size in enumerate(sizes, 1) for _ in range(size)]
    if (end := _ENDS_DENIED.search(text)) is None:
        return numbers
    alone = len(sizes) == 2 and len(tokens(text[text.rfind(",") : end.start()])) < 2
    last = len(sizes)
    return [-number if number == last or alone else number for number in numbers]


def _without_rivals(sentence: str) -> str:
    """Return a sentence without its parts that speak of other shops."""
    if not RIVALS.search(sentence):
        return sentence
    parts = re.split(r"(?<=[,:]) ", sentence)
    return " ".join(part for part in parts if not RIVALS.search(part)) + (
        "?" if "?" in sentence else ""
    )
