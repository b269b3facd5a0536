"""Drills in looking up: what a model that is to read its shop practises beside selling.

A conversation has two or three look-ups among sixty words, and a model that learns from
conversations alone learns their commonplaces first. In a drill nearly every word that counts is
looked up: customers come one after the other, each says a need, a feature or both, together or one
after the other, and the seller says the customer's word, what the leaflet has for it, and the
cheapest or the dearest offer there that suits. Half of the time the word that counts stands
anywhere among others, so that it is known by the leaflet and not by how people talk.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from convgym.conversation import Episode, Response, Turn
from convgym.shop.catalog import Catalog
from convgym.shop.generator import FEATURE_FRAMES, NEED_FRAMES, mix, wish
from convgym.shop.language import tokens

CUSTOMERS = 5
"""Who come to a shop in a drill, one after the other."""
_WISHES = (
    (("need",), ("feature",)),
    (("need", "feature"),),
    (("need",),),
    (("feature",),),
)
"""What customers say, turn by turn; equally often."""
_LONGEST = 7
"""Words around the one that counts, at most, where they are any."""


def drill(catalog: Catalog, words: Sequence[str], rng: random.Random) -> Episode:
    """Return what was said in a shop, as if it were one conversation.

    Args:
        catalog: of the shop.
        words: what else customers may say; the shop is about none of them.
        rng: everything random comes from it.
    """
    heard, said = [], []
    for _ in range(CUSTOMERS):
        wished: dict[str, str] = {}
        for turn in rng.choice(_WISHES):
            wishes, notes = [], []
            for kind in rng.sample(turn, len(turn)):
                topics = catalog.needs if kind == "need" else catalog.features
                topic = rng.choice(list(topics))
                known_by = topics[topic].words
                wishes.append(_wish(kind, known_by, words, rng))
                word = next(word for word in tokens(wishes[-1]) if word in known_by)
                notes.append(f"{word} {topic}.")
                wished[kind] = topic
            heard.append(" ".join(wishes))
            said.append(" ".join(notes))
        need = wished.get("need", next(iter(catalog.needs)))
        feature = wished.get("feature", next(iter(catalog.features)))
        offered = sorted(catalog.meeting(need, feature), key=lambda product: product.price)
        said[-1] += f" {catalog.read_out(rng.choice((offered[0], offered[-1])), need, feature)}"
    opening, *replies = heard
    turns = (Turn(Response(text), reply) for text, reply in zip(said, [*replies, ""], strict=True))
    return Episode(0, opening, tuple(turns), "purchase", "", "drill", leaflet=catalog.leaflet())


def _wish(kind: str, known_by: Sequence[str], words: Sequence[str], rng: random.Random) -> str:
    if rng.random() < 0.5:
        frames = NEED_FRAMES if kind == "need" else FEATURE_FRAMES
        return mix(wish(rng.choice(frames), known_by, rng), words, rng)
    said = [rng.choice(words) for _ in range(rng.randint(0, _LONGEST))]
    said.insert(rng.randint(0, len(said)), rng.choice(known_by))
    return f"{' '.join(said)}{rng.choice(('', '.'))}"
