"""Drills in looking up: what a model that is to read its shop practises before it sells.

A conversation has two or three look-ups among sixty words, and a model that learns from
conversations alone learns their commonplaces first. Here nearly every word that counts is looked
up: shops of their own, small ones at first, a leaflet each, customers who want one thing after the
other, and a seller that says the customer's word, what the leaflet has for it, and the offer.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from convgym.agents.model.format import CUSTOMER, END, PAD, SELLER, SHOP
from convgym.agents.reading_vocabulary import PRICES
from convgym.shop.generator import random_name

_CPU = torch.device("cpu")
"""Where drills are made; the loss moves them."""
LEVELS: Sequence[tuple[int, int]] = ((2, 1), (2, 2), (3, 2), (3, 3), (4, 4), (4, 5), (4, 7))
"""Needs, features as many, and words for each of them, from the first level to the last."""
_CUSTOMERS = 4
"""Who come to a shop, one after the other."""
_NEED = (
    "{0}",
    "the {0} and the {1}",
    "i need it for {0}",
    "{0} with friends",
    "the {0}, every day",
    "a lot of {0}",
    "well, {0}.",
    "mostly {0}",
    "for {0}, i think",
)
_FEATURE = (
    "a good {0}",
    "it has to be about {0}",
    "the {0}, like on the {1}",
    "lots of {0}",
    "the {0} should last",
    "i care about {0}",
    "what counts is the {0}",
)
_NAME_IN_PIECES = 0.2
"""Share of needs and features whose name may be any word; the others have one of one token."""


@dataclass(frozen=True, slots=True)
class Drill:
    """Shops, and what was said in them: a row each.

    Attributes:
        ids: (B, T), padded on the right.
        asked: (B, T), True for the tokens that are practised: the seller's, but for full stops.
    """

    ids: Tensor
    asked: Tensor


def level_at(share: float) -> int:
    """Return how large shops are after a share of the practice: all levels in its first third."""
    return min(len(LEVELS) - 1, int(3 * share * len(LEVELS)))


def drill(tokenizer: Any, words: Sequence[str], level: int, n: int, rng: random.Random) -> Drill:
    """Return ``n`` shops of a level and below it, with what was said there.

    Args:
        tokenizer: of the model.
        words: what needs and features are about.
        level: of most shops; a fifth are of any level up to it.
        n: how many.
        rng: everything random comes from it.
    """
    vocabulary = tokenizer.get_vocab()
    whole = [word for word in words if f"Ġ{word}" in vocabulary]
    rows = []
    for _ in range(n):
        here = level if rng.random() < 0.8 else rng.randint(0, level)
        rows.append(_row(tokenizer, words if here >= 3 else whole, whole, here, rng))
    length = max(len(ids) for ids, _ in rows)
    pad = tokenizer.convert_tokens_to_ids(PAD)
    ids = torch.full((n, length), pad, device=_CPU)
    asked = torch.zeros((n, length), dtype=torch.bool, device=_CPU)
    for i, (row, practised) in enumerate(rows):
        ids[i, : len(row)] = torch.tensor(row, device=_CPU)
        asked[i, : len(row)] = torch.tensor(practised, device=_CPU)
    return Drill(ids, asked)


def _row(
    tokenizer: Any, words: Sequence[str], whole: Sequence[str], level: int, rng: random.Random
) -> tuple[list[int], list[bool]]:
    """Return the tokens of a shop with its customers, and which are practised."""
    size, synonyms = LEVELS[level]
    drawn = iter(rng.sample(words, 2 * size * synonyms))
    names = rng.sample(whole, 2 * size)
    topics = []
    for name in names:
        known_by = [next(drawn) for _ in range(synonyms)]
        if rng.random() >= _NAME_IN_PIECES:
            known_by[0] = name
        topics.append(known_by)
    needs, features = topics[:size], topics[size:]
    prices, taken = sorted(PRICES), set[str]()
    offers = {
        (need[0], feature[0]): f"${rng.choice(prices)} {random_name(taken, rng)}"
        for need in needs
        for feature in features
    }
    leaflet = ", ".join(f"{word} {topic[0]}" for topic in topics for word in topic)
    leaflet += ". " + " ".join(f"{' '.join(key)} {what}." for key, what in offers.items())
    ids: list[int] = []
    asked: list[bool] = []

    def say(text: str, practised: bool = False) -> None:
        tokens = tokenizer.encode(text, add_special_tokens=False)
        ids.extend(tokens)
        asked.extend([practised] * len(tokens))

    def mark(token: str) -> None:
        ids.append(tokenizer.convert_tokens_to_ids(token))
        asked.append(False)

    def wish(topic: Sequence[str], phrases: Sequence[str]) -> None:
        word = rng.choice(topic)
        mark(CUSTOMER)
        say(rng.choice(phrases).format(word, rng.choice(topic)))
        mark(SELLER)
        say(f"{word} {topic[0]}", True)
        mark(".")

    mark(SHOP)
    say(leaflet)
    for _ in range(_CUSTOMERS):
        need, feature = rng.choice(needs), rng.choice(features)
        wish(need, _NEED)
        mark(END)
        wish(feature, _FEATURE)
        say("for")
        say(f"{need[0]} {feature[0]} {offers[need[0], feature[0]]}", True)
        mark(".")
        mark(END)
    return ids, asked
