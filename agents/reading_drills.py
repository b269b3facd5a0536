"""Drills in looking up: what a model that is to read its shop practises beside selling.

A conversation has two or three look-ups among sixty words, and a model that learns from
conversations alone learns their commonplaces first. In a drill nearly every word that counts is
looked up: customers come one after the other, each has two wishes, and the seller says the
customer's word, what the leaflet has for it, and the cheapest offer.
"""

from __future__ import annotations

import random

from convgym.conversation import Episode, Response, Turn
from convgym.shop.catalog import Catalog, offer
from convgym.shop.generator import FEATURE_FRAMES, NEED_FRAMES

CUSTOMERS = 4
"""Who come to a shop in a drill, one after the other."""


def drill(catalog: Catalog, rng: random.Random) -> Episode:
    """Return what was said in a shop, as if it were one conversation.

    Args:
        catalog: of the shop, which has something for every need with every feature.
        rng: everything random comes from it.
    """
    heard, said = [], []
    for _ in range(CUSTOMERS):
        need, feature = rng.choice(list(catalog.needs)), rng.choice(list(catalog.features))
        suitable = [p for p in catalog.products if need in p.needs and feature in p.features]
        cheapest = min(suitable, key=lambda product: product.price)
        for topic, words, frames in (
            (need, catalog.needs[need].words, NEED_FRAMES),
            (feature, catalog.features[feature].words, FEATURE_FRAMES),
        ):
            word = rng.choice(words)
            heard.append(rng.choice(frames).format(word, rng.choice(words)))
            said.append(f"{word} {topic}.")
        said[-1] += f" For {offer(catalog, cheapest, need, feature)}."
    opening, *replies = heard
    turns = (Turn(Response(text), reply) for text, reply in zip(said, [*replies, ""], strict=True))
    return Episode(0, opening, tuple(turns), "purchase", "", "drill", leaflet=catalog.leaflet())
