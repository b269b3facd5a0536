"""What a line is without what fills its slots: amounts, names, phrases for needs and features."""

from __future__ import annotations

import re
from functools import lru_cache

from convgym.shop.catalog import Catalog

_NUMBER = re.compile(r"\d+(?:,\d{3})*")


@lru_cache(maxsize=16)
def _slots(catalog: Catalog) -> re.Pattern[str]:
    topics = (*catalog.needs.values(), *catalog.features.values())
    phrases = [phrase for topic in topics for phrase in topic.phrases]
    phrases += [feature.question for feature in catalog.features.values()]
    phrases += [product.name for product in catalog.products]
    return re.compile(
        "|".join(re.escape(phrase) for phrase in sorted(phrases, key=len, reverse=True)),
        flags=re.I,
    )


def mask(text: str, catalog: Catalog) -> str:
    """Return a reply with what fills slots left out: ``*`` for words, ``#`` for numbers."""
    return _NUMBER.sub("#", _slots(catalog).sub("*", text))
