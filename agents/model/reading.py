"""The format of models that read their shop: its leaflet stands before the conversation.

Here a word is one token. What is said in every shop has tokens of its own; the words of a shop's
leaflet take places that the vocabulary keeps for them, drawn anew for each shop. A place means
nothing by itself, only by what stands beside it in the leaflet: it has to be looked up (as
delexicalised dialogue makes words anonymous: Wen et al. 2015, arXiv 1508.01745).
"""

from __future__ import annotations

import copy
import json
import random
import re
from typing import Any

from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerFast

from convgym.agents.model.format import (
    COMPACT_TOKENS,
    CUSTOMER,
    END,
    SELLER,
    ConversationFormat,
)
from convgym.agents.model.own_tokenizer import wrapped

SHOP = "<|shop|>"
"""What a leaflet begins with."""
SPECIAL = (*COMPACT_TOKENS, SHOP)
UNKNOWN = "ĠâĢ¦"
"""What stands for words that neither the vocabulary nor the leaflet has: an ellipsis."""
PLACES = 256
"""Words of a shop's own that a vocabulary has room for."""
_PLACE = "Ġ·"
"""No text is split into a word of this form."""
_WORD = re.compile("Ġ?[^Ġ\x21-\x40]+")
"""Neither a number nor a punctuation mark."""
_SHOPS = 64
"""Shops whose formats are remembered."""


class ReadingFormat(ConversationFormat):
    """The compact format with the shop's leaflet at its beginning.

    ``<|shop|> leaflet <|customer|> words <|seller|> words <|end|> <|customer|> words ...``

    Args:
        tokenizer: one token a word, with places for a shop's own.

    Attributes:
        leaflet: what it reads of the shop before all else; empty for no shop.
    """

    def __init__(self, tokenizer: Any) -> None:
        frame = (CUSTOMER, SELLER)
        super().__init__(tokenizer, (SHOP + CUSTOMER, SELLER), frame, END)
        self.leaflet = ""
        self._elsewhere = tokenizer  # all places free
        self._shops: dict[str, ReadingFormat] = {}

    def about(self, leaflet: str) -> ReadingFormat:
        """Return this format for another shop; it is the same if there is none."""
        if leaflet in ("", self.leaflet):
            return self
        if leaflet not in self._shops:
            if len(self._shops) >= _SHOPS:
                self._shops.clear()
            format = copy.copy(self)
            format.leaflet = leaflet
            format._spell_with(in_shop(self._elsewhere, leaflet))
            (first, *_, last), after = self._opening_frame
            format._opening_frame = (first, *format._utterance(leaflet), last), after
            self._shops[leaflet] = format
        return self._shops[leaflet]

    def within(self, logits: int) -> ConversationFormat:
        format = super().within(logits)
        if isinstance(format, ReadingFormat) and format is not self:
            format._shops = {}
        return format


def in_shop(tokenizer: PreTrainedTokenizerFast, leaflet: str) -> PreTrainedTokenizerFast:
    """Return a tokenizer in which a leaflet's words have taken places.

    Which places is drawn at random from the leaflet's text, so that no place has a meaning that
    could be learned. Words for which no place is left are what they are elsewhere.

    Args:
        tokenizer: with all places free.
        leaflet: of the shop.
    """
    backend = tokenizer.backend_tokenizer
    assert backend.normalizer is not None
    assert backend.pre_tokenizer is not None
    spec: dict[str, Any] = json.loads(backend.to_str())
    vocabulary: dict[str, int] = spec["model"]["vocab"]
    text = backend.normalizer.normalize_str(leaflet)
    words = dict.fromkeys(word for word, _ in backend.pre_tokenizer.pre_tokenize_str(text))
    free = [name for name in vocabulary if name.startswith(_PLACE)]
    random.Random(f"places/{leaflet}").shuffle(free)
    own = (word for word in words if word not in vocabulary or _WORD.fullmatch(word))
    for word, name in zip(own, free, strict=False):
        taken = vocabulary.pop(name)
        if word in vocabulary:  # its token stands for nothing here
            vocabulary[name] = vocabulary[word]
        vocabulary[word] = taken
    return wrapped(Tokenizer.from_str(json.dumps(spec)), SPECIAL)


def free_places(tokenizer: PreTrainedTokenizerFast) -> list[int]:
    """Return the tokens of the places that no word has taken."""
    vocabulary = tokenizer.get_vocab()
    return sorted(token for name, token in vocabulary.items() if name.startswith(_PLACE))


def place(number: int) -> str:
    """Return the name of a place that no word has taken."""
    return f"{_PLACE}{number}"
