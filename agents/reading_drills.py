"""Drills in looking up: what a model that is to read its shop practises beside selling.

A conversation has two or three look-ups among sixty words, and a model that learns from
conversations alone learns their commonplaces first. In a drill nearly every word that counts is
looked up: customers come one after the other, each says a need, a feature or first one and then the
other, and the seller says the customer's word, what the leaflet has for it, and the first offer
there that suits.
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
_WISHES = (("need", "feature"), ("need", "feature"), ("need",), ("feature",))
"""What customers say, equally often."""


def drill(catalog: Catalog, fillers: Sequence[str], rng: random.Random) -> Episode:
    """Return what was said in a shop, as if it were one conversation.

    Args:
        catalog: of the shop.
        fillers: words that give nothing away, for customers to mix into their wishes.
        rng: everything random comes from it.
    """
    offers = catalog.offers()
    heard, said = [], []
    for _ in range(CUSTOMERS):
        wished = []
        for kind in rng.choice(_WISHES):
            topics = catalog.needs if kind == "need" else catalog.features
            frames = NEED_FRAMES if kind == "need" else FEATURE_FRAMES
            topic = rng.choice(list(topics))
            wanted = wish(rng.choice(frames), topics[topic].words, rng)
            heard.append(mix(wanted, fillers, rng))
            word = next(word for word in tokens(heard[-1]) if word in topics[topic].words)
            said.append(f"{word} {topic}.")
            wished.append(topic)
        first = next(offer for offer in offers if set(wished) <= {*offer.split()[:2]})
        said[-1] += f" For {first}."
    opening, *replies = heard
    turns = (Turn(Response(text), reply) for text, reply in zip(said, [*replies, ""], strict=True))
    return Episode(0, opening, tuple(turns), "purchase", "", "drill", leaflet=catalog.leaflet())
