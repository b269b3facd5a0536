"""The words of a shop: text to tokens, and tokens to concepts.

Both sides of a conversation read with it: customers (``convgym.customers.scripted.understanding``)
and sellers (``convgym.sellers.knowledge``).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable
from functools import lru_cache

from convgym.shop.catalog import Catalog

_LONGEST_WORD = 20
"""Letters; longer words are not looked for with a typing error in them."""

_MOST_DIGITS = 18
"""Digits of a number that are read."""

OBJECTIONS = ("price", "warranty", "delivery", "reviews")
"""What customers worry about once they have seen a product."""


_TOKEN = re.compile(r"[a-z']+|\d+(?:,\d{3})*")


# Concepts of selling in general; needs and features come from the catalogue.
_WORDS: dict[str, str] = {
    "ask": "what which how who when where why whats",
    "auxiliary": "do does did is are was would could can will should shall may have has",
    "you": "you your yours yourself u",
    "use": "use used using usage purpose mainly mostly planning plan need needed task tasks "
    "activity activities work working primarily doing",
    "important": "important importance matter matters priority priorities feature features "
    "prefer preference preferences care value essential crucial key most",
    "budget": "budget spend spending afford pay limit price-range range willing invest",
    "concern": "concern concerns concerned worry worries worried doubt doubts hesitation "
    "hesitate hesitant unsure holding reservations bother bothers stopping convinced",
    "open": "help looking look search searching tell describe want wish hoping interested",
    "recommend": "recommend recommending suggest suggestion offer perfect fits fit ideal great "
    "best right try consider propose choice match suits suit made good",
    "buy": "buy buying order purchase checkout cart reserve wrap",
    "get": "take get have",
    "propose": "like want shall ready let lets let's proceed ahead may can could wish happy i'll "
    "should",
    "push": "hurry now immediately today quick quickly last limited miss must final fast urgent "
    "instantly asap",
    "warranty": "warranty guarantee guaranteed repair repairs repaired replace replaced refund "
    "refunds return returns covered cover breaks broken",
    "delivery": "delivery deliver delivered delivers ship ships shipped shipping arrive arrives "
    "courier express tomorrow dispatch",
    "price": "discount discounts installment installments instalment instalments monthly "
    "financing finance cheaper affordable save savings percent",
    "reviews": "review reviews rated rating ratings stars testimonials trusted award awards "
    "reputation recommended reviewers",
    "greet": "hello hi hey welcome greetings morning afternoon evening",
    "thanks": "thanks thank cheers bye goodbye",
    "not": "not no never don't dont cannot can't won't isn't doesn't without neither",
}


# Plain English that carries no act of its own but is not gibberish either.
_FILLER = """
a about above after again all almost already also always am an and another any anybody anyone
anything around as ask at away back be because been before being believe below better between big
both bring but by call came cannot case certainly choose clear come computer cost costs course day
days dear device different done each easy either else enough even ever every everything exactly
expect explain family feel few find fine first follow for free friend from full further gave get
gets give gives glad go goes going gone got had half happen hard he hear heard her here high him his
hold home hope hour hours i i'd i'm i've if in include included includes including indeed instead
into issue it it's its just keep kind know known large later lead least leave left less life
listen little live long lot lots love low machine made main make makes many maybe me mean mind
minute model moment money month months more move much my name near never new next nice nor nothing
number of off often oh ok okay old on once one only open option options or other our out over own
part people per perhaps person place please plenty point possible powerful prefer price prices
problem product products put question questions quite rather read real really reason right said
same say sales see seems sell seller selling send service set several she shop show shows simple
simply since small so some someone something soon sorry sort sound sounds special spec specs speed
still stock stop store strong such sure take talk team than that that's the their them then there
these they they're thing things think this those though thought through time to together told too
top total toward true try turn two type types under understand until up upon us usual very wait way
we we'd we'll we're we've week weeks well were what's while whole wide with within wonder word words
world wrong yeah year years yes yet you'd you'll you're you've customers customer client clients
store stores sir madam dollars dollar bucks euros exact exactly two-year year-long
"""


# Words that are near those of the shops and mean themselves: to a careful reader no slips.
_PLAIN = """
acts alive arrived aware bare basic basics basis batch bits book books border border bring broad
card cast catch change changed changes changing check cold compute contact contacts contrast core
count counts cross cuts deal deals dealer deep driven driver eight eighth ensure exit extra face
faces fact fair fall falls file fill fills flag flight folding forget forgot fresh front gate grand
greeting hack hand hands head height held hero hit hits idea ideas inch kill knew lack lacked
lacking lacks lake layer layers list lists lock locking logs loop lower mail master meal meet
meeting member members met might mouse news newer night older outer pack packs past patch
pending placing plain play rank ranked rare rate rates rest risk risks rush sack saddle sale
seal send sent serve shake sign skip skipped skipping skips slight slim slip spare spent spring
star start string strip stuff sum tail tails taken tall team test tests tight till tips took
track tracks train treat trial trials trim tune turn twin use user users vast wait walk walking
warm watch went west wide wild wise zero
"""


_SUFFIXES = ("ing", "'s", "ed", "ly", "es", "s")


def tokens(text: str) -> list[str]:
    """Return the lower-case words and the numbers of ``text`` ("1,200" becomes "1200")."""
    if not text.isascii():
        text = unicodedata.normalize("NFKD", text.replace("\u2019", "'"))
        text = text.encode("ascii", "ignore").decode()
    return [token.replace(",", "") for token in _TOKEN.findall(text.lower())]


def numbers(tokens: Iterable[str]) -> list[int]:
    """Return the numbers among ``tokens``; of very long ones the first digits, still a lot."""
    # Python refuses to read numbers of thousands of digits.
    return [int(t.lstrip("0")[:_MOST_DIGITS] or "0") for t in tokens if t[0].isdigit()]


def _deletions(word: str) -> set[str]:
    return {word[:i] + word[i + 1 :] for i in range(len(word))}


def _one_typo(a: str, b: str) -> bool:
    """Tell whether one insertion, deletion, substitution or swap of neighbours turns a into b."""
    if abs(len(a) - len(b)) > 1:
        return False
    start = next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), None)
    if start is None:
        return True
    rest_a, rest_b = a[start:], b[start:]
    return (
        rest_a[1:] == rest_b[1:]
        or rest_a[1:] == rest_b
        or rest_a == rest_b[1:]
        or (rest_a[:2] == rest_b[1::-1] and rest_a[2:] == rest_b[2:])
    )


_LONG_ENOUGH = 6
"""Letters of a word in which a careful reader puts a typing error right."""


class Lexicon:
    """Maps words to bit masks of concepts, forgiving endings and typing errors.

    Args:
        catalog: the shop.
        careful: take no other word for a slip of the pen: only long words that begin right are
            put right, and none that means something by itself.
    """

    def __init__(self, catalog: Catalog, careful: bool = False) -> None:
        self._catalog, self._careful = catalog, careful
        self.names = [*_WORDS]
        self.names += [f"need:{name}" for name in catalog.needs]
        self.names += [f"feature:{name}" for name in catalog.features]
        self.names += [f"product:{product.name}" for product in catalog.products]
        self.bit = {name: 1 << i for i, name in enumerate(self.names)}
        plain = f"{_FILLER} {_PLAIN}" if careful else _FILLER
        self._masks = dict.fromkeys(plain.split(), 0)
        for name, words in _WORDS.items():
            self._add(self.bit[name], words.split())
        for name, need in catalog.needs.items():
            self._add(self.bit[f"need:{name}"], need.words)
        for name, feature in catalog.features.items():
            self._add(self.bit[f"feature:{name}"], feature.words)
        for product in catalog.products:
            self._add(self.bit[f"product:{product.name}"], catalog.words_of(product))
            self._add(0, tokens(product.name))
        self._add(0, [*tokens(f"{catalog.item} {catalog.items}"), *catalog.jargon])
        self._near: dict[str, list[str]] = {}
        for word in self._masks:
            if len(word) >= 4:
                for key in {word, *_deletions(word)}:
                    self._near.setdefault(key, []).append(word)
        self._corrected: dict[str, int | None] = {}

    def __reduce__(self) -> tuple[Callable[[Catalog, bool], Lexicon], tuple[Catalog, bool]]:
        # Copies, in other processes too, are the one that everybody there shares.
        return lexicon, (self._catalog, self._careful)

    def _add(self, mask: int, words: tuple[str, ...] | list[str]) -> None:
        for word in words:
            self._masks[word] = self._masks.get(word, 0) | mask

    def concepts(self, token: str) -> int | None:
        """Return the token's concepts as a bit mask, 0 for plain words, None if not a word."""
        mask = self._masks.get(token)
        if mask is not None:
            return mask
        if len(token) > _LONGEST_WORD:
            return self._look_again(token)
        if token in self._corrected:
            return self._corrected[token]
        if len(self._corrected) > 50_000:  # gibberish must not grow the memory without bound
            self._corrected.clear()
        return self._corrected.setdefault(token, self._look_again(token))

    def _look_again(self, token: str) -> int | None:
        if token[0].isdigit():
            return 0
        for suffix in _SUFFIXES:
            if token.endswith(suffix) and token[: -len(suffix)] in self._masks:
                return self._masks[token[: -len(suffix)]]
        shortest = _LONG_ENOUGH if self._careful else 4
        if not shortest <= len(token) <= _LONGEST_WORD:
            return None
        candidates = {
            word
            for key in {token, *_deletions(token)}
            for word in self._near.get(key, ())
            if _one_typo(token, word) and not (self._careful and token[0] != word[0])
        }
        # Of several readings the alphabetically first: arbitrary but the same every time.
        return self._masks[min(candidates)] if candidates else None

    def labels(self, mask: int, prefix: str) -> tuple[str, ...]:
        """Return the concepts in ``mask`` whose name starts with ``prefix``, without the prefix."""
        return tuple(
            name[len(prefix) :]
            for name in self.names
            if name.startswith(prefix) and mask & self.bit[name]
        )


TOPICS = ("need", "feature", "budget")
"""What a seller can discover by asking."""


@lru_cache(maxsize=16)
def lexicon(catalog: Catalog, careful: bool = False) -> Lexicon:
    """Return the lexicon of a catalogue, one for all who share the catalogue."""
    return Lexicon(catalog, careful)
