"""What the reading seller spells with: a lower-case vocabulary of English, and prices as words.

Cut out of the vocabulary of SmolLM2 (Apache-2.0), in its order, so that the commonest words are
one token each, whatever shop they come from; what is left is spelt in pieces. Numbers up to four
thousand that prices and budgets have are one token, with or without the currency sign.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from convgym.agents.model.format import COMPACT_TOKENS, END, PAD, SHOP
from convgym.customers.scripted.wording import EVASIONS, FRAGMENTS
from convgym.customers.scripted.wording import PHRASES as CUSTOMER_PHRASES
from convgym.sellers.knowledge import PHRASES as SELLER_PHRASES
from convgym.shop.catalog import catalog_names, load_catalog
from convgym.shop.generator import WORDS, random_catalog
from convgym.shop.language import lexicon

SHIPPED = Path(__file__).parent / "checkpoints" / "reading-seller" / "tokenizer.json"
SIZE = 12_000
"""Tokens of the vocabulary."""
PRICES = frozenset(
    {*range(5, 121), *range(60, 1000, 10), *range(80, 1700, 20), *range(400, 4100, 50)}
)
_SPACE = "Ġ"
"""How a byte-level vocabulary writes the space that a word begins with."""
_KEPT = re.compile(r"Ġ?[a-z]+|Ġ?[.,:;!?'$%-]+|Ġ")
_WORD = re.compile(r"Ġ[a-z]{3,12}")
_NUMBER = re.compile(r"Ġ\$?([1-9][0-9]*)")


def cut_vocabulary(merges: Iterable[str], size: int = SIZE) -> Tokenizer:
    """Return a tokenizer with the lower-case part of a byte-level vocabulary.

    Args:
        merges: of the vocabulary, in its order: two pieces with a space between.
        size: tokens to keep.
    """
    vocabulary: dict[str, int] = {}
    kept: list[tuple[str, str]] = []
    for token in (*COMPACT_TOKENS, SHOP, *sorted(pre_tokenizers.ByteLevel.alphabet())):
        vocabulary.setdefault(token, len(vocabulary))

    def merge(first: str, second: str) -> None:
        if (first, second) not in kept_already:
            kept_already.add((first, second))
            kept.append((first, second))
            vocabulary.setdefault(first + second, len(vocabulary))

    kept_already: set[tuple[str, str]] = set()
    merge(_SPACE, "$")
    for sign, numbers in ((_SPACE + "$", PRICES), (_SPACE, {*range(10, 100), *PRICES})):
        for number in sorted(numbers):
            digits = str(number)
            for i in range(len(digits)):
                merge(sign + digits[:i], digits[i])
    for line in merges:
        first, second = line.split(" ")
        known = first in vocabulary and second in vocabulary
        if len(vocabulary) < size and known and _KEPT.fullmatch(first + second):
            merge(first, second)
    return _tokenizer(vocabulary, kept)


def _tokenizer(vocabulary: dict[str, int], merges: list[tuple[str, str]]) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
    tokenizer.normalizer = normalizers.Lowercase()
    # Every text begins with a space: a word is the same token wherever it stands.
    letters = pre_tokenizers.ByteLevel(add_prefix_space=True, use_regex=False)
    words = Regex(r"Ġ?\$?[0-9]+|Ġ?[a-z]+|Ġ?[^Ġ0-9a-z]+|Ġ+")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [letters, pre_tokenizers.Split(words, "isolated")]
    )
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def build_reading_tokenizer() -> PreTrainedTokenizerFast:
    """Return the tokenizer of reading sellers, which comes with the package."""
    special = [*COMPACT_TOKENS, SHOP]
    return PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_file(str(SHIPPED)),
        pad_token=PAD,
        eos_token=END,
        extra_special_tokens=[token for token in special if token not in (PAD, END)],
        clean_up_tokenization_spaces=False,
    )


def numbers_of(tokenizer: Any) -> dict[int, int]:
    """Return the number that each token stands for which stands for one, by the token's id."""
    return {
        token: int(number[1])
        for word, token in tokenizer.get_vocab().items()
        if (number := _NUMBER.fullmatch(word))
    }


@cache
def shop_words() -> Sequence[str]:
    """Return what random shops are about: common words, and forms of them spelt in pieces.

    One in three or four is spelt in pieces, as in shops that the vocabulary does not know. None is
    a word of the package's own shops, or one that customers and sellers use anyway.
    """
    said = (SELLER_PHRASES, CUSTOMER_PHRASES, EVASIONS, FRAGMENTS)
    phrases = [phrase for of in said for phrases in of.values() for phrase in phrases]
    taken = set(re.findall("[a-z]+", " ".join(phrases).lower())) | _COMMON
    for name in catalog_names():
        catalog = load_catalog(name)
        for topic in (*catalog.needs.values(), *catalog.features.values()):
            taken |= set(topic.words)
    whole = {w[1:] for w in build_reading_tokenizer().get_vocab() if _WORD.fullmatch(w)}
    spelt = {f"{word}{ending}" for word in WORDS for ending in ("s", "ing", "er")} - whole
    free = (whole | set(WORDS) | spelt) - taken
    # Words that mean something to customers whatever shop they are in, as "buying" does.
    ears = [lexicon(random_catalog(seed)) for seed in range(2)]
    return sorted(word for word in free if not all(ear.concepts(word) for ear in ears))


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
