"""What the reading seller spells with: the words of every shop, numbers, and places for others."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from typing import Any

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from convgym.agents.model.own_tokenizer import wrapped
from convgym.agents.model.reading import PLACES, SPECIAL, UNKNOWN, place
from convgym.customers.scripted.wording import EVASIONS, FRAGMENTS
from convgym.customers.scripted.wording import PHRASES as CUSTOMER_PHRASES
from convgym.sellers.knowledge import PHRASES as SELLER_PHRASES
from convgym.shop.catalog import catalog_names, load_catalog
from convgym.shop.generator import WORDS, random_catalog
from convgym.shop.language import lexicon

PRICES = frozenset(
    {*range(5, 121), *range(60, 1000, 10), *range(80, 1700, 20), *range(400, 4100, 50)}
)
_SPACE = "Ġ"
"""How a byte-level vocabulary writes the space that a word begins with."""
_ELLIPSIS = "…"
_NUMBER = re.compile(r"Ġ\$?([1-9][0-9]*)")


def build_reading_tokenizer() -> PreTrainedTokenizerFast:
    """Return the tokenizer of reading sellers, with all places free.

    Words are lower case, and numbers up to four thousand that prices and budgets have are words,
    with or without the currency sign.
    """
    names = [
        *SPECIAL,
        UNKNOWN,
        *".,:;!?'\"$%-()",
        *(f"{_SPACE}{word}" for word in sorted(_said_everywhere())),
        *(f"{_SPACE}{sign}{n}" for sign in ("$", "") for n in sorted({*range(1, 100), *PRICES})),
        *map(place, range(PLACES)),
    ]
    vocabulary = {name: number for number, name in enumerate(names)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=UNKNOWN))
    tokenizer.normalizer = normalizers.Lowercase()
    # Every text begins with a space: a word is the same token wherever it stands.
    letters = pre_tokenizers.ByteLevel(add_prefix_space=True, use_regex=False)
    words = Regex(r"Ġ?\$?[0-9]+|Ġ?[^Ġ\x21-\x2f0-9:-@]+|[\x21-\x2f:-@]|Ġ+")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [letters, pre_tokenizers.Split(words, "isolated")]
    )
    tokenizer.decoder = decoders.ByteLevel()
    return wrapped(tokenizer, SPECIAL)


def numbers_of(tokenizer: Any) -> dict[int, int]:
    """Return the number that each token stands for which stands for one, by the token's id."""
    return {
        token: int(number[1])
        for word, token in tokenizer.get_vocab().items()
        if (number := _NUMBER.fullmatch(word))
    }


@cache
def known_words() -> Sequence[str]:
    """Return words that random shops are about none of; an ellipsis is any unknown one."""
    return [*sorted(_said_everywhere() - set(WORDS)), *[_ELLIPSIS] * 200]


@cache
def fillers() -> Sequence[str]:
    """Return those that tell customers and sellers nothing."""
    ear = lexicon(random_catalog(0))
    return [word for word in known_words() if word == _ELLIPSIS or not ear.concepts(word)]


def _said_everywhere() -> set[str]:
    """Return what customers and sellers say in any shop, and what they say in the package's.

    The latter for whoever sells there in words of his own; without what gives a need or feature
    away, which is to be looked up.
    """
    phrases, here, meanings = [], [], set[str]()
    for said in (SELLER_PHRASES, CUSTOMER_PHRASES, EVASIONS, FRAGMENTS):
        phrases += [phrase for of in said.values() for phrase in of]
    for catalog in map(load_catalog, catalog_names()):
        for topic in (*catalog.needs.values(), *catalog.features.values()):
            here += [*topic.phrases, getattr(topic, "claim", ""), getattr(topic, "question", "")]
            meanings |= set(topic.words)
        wording = catalog.wording
        here += [*wording.openings, *(line for of in wording.questions.values() for line in of)]
        for objection in wording.objections.values():
            here += [*objection.phrases, *objection.answers]
    return _words(phrases) | _words(here) - meanings | _COMMON


def _words(texts: Sequence[str]) -> set[str]:
    return set(re.findall("[a-z]+", " ".join(texts).lower()))


_COMMON = frozenset(
    """
the and for with that this from are was were have has had not you your his her its they them our
their will would can could should may might must shall who what when where which why how all any
some each every more most less least than then also only just very into onto over under about after
before between because while during such these those here there been being does did done doing but
nor yet one two three four five six seven eight nine ten first second third let get got make made
use used like want need best good well much many too now out off own same other another since
""".split()
)
