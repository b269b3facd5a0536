"""What the shopper says: meanings to words, with what the words speak of filled in."""

from __future__ import annotations

from functools import lru_cache
from random import Random

from convgym.customers.shopper.profile import Shopper
from convgym.shop.catalog import Catalog, Product
from convgym.shop.grammar import grammar, wording
from convgym.shop.terms import discounted

MOODY = 0.25
"""How often a reply begins with a word of the shopper's mood."""

_COMMON_WORDS = 4
"""How many of the words for a need or feature, the commonest, stand for it in fragments."""


class Voice:
    """Speaks a wording in a shop; one for all who speak it there.

    Args:
        catalog: the shop.
        name: the wording, by name or JSON file (``convgym.shop.grammar``).
    """

    def __init__(self, catalog: Catalog, name: str) -> None:
        self._catalog = catalog
        self._wording = wording(name)
        self._whole, self._short = grammar(name, False), grammar(name, True)
        self._tones = {meaning: self._wording.tone(meaning) for meaning in self._wording.meanings}
        article = "an" if catalog.item[0].lower() in "aeiou" else "a"
        self._of_shop = {
            "item": catalog.item,
            "a_item": f"{article} {catalog.item}",
            "items": catalog.items.split(",")[0],
        }

    def say(
        self,
        meaning: str,
        rng: Random,
        profile: Shopper,
        product: Product | None,
        *,
        fragments: bool,
        other: str = "",
    ) -> str:
        """Return words for a meaning; ``other`` is a product that it is compared with."""
        text = (self._short if fragments else self._whole).say(meaning, rng)
        if "{" in text:
            values = self._money(profile, product) | {"other": other}
            if "{need}" in text or "{feature}" in text:
                values |= self._topics(rng, profile, fragments)
            if "{wish}" in text:
                values["wish"] = self._catalog.features[profile.wish].question
            text = text.format_map(values)
        return text[:1].upper() + text[1:]

    def moodily(self, text: str, meaning: str, mood: str, rng: Random) -> str:
        """Put a word of the mood before a reply that begins with this meaning, now and then."""
        if rng.random() >= MOODY:
            return text
        words = self._wording.moods.get(mood, {}).get(self._tones.get(meaning, "plain"), ())
        return f"{rng.choice(words)} {text}" if words else text

    def _money(self, profile: Shopper, product: Product | None) -> dict[str, str]:
        money = self._catalog.currency
        amounts: dict[str, float] = {
            "low": profile.low,
            "high": profile.high,
            "limit": profile.budget,
        }
        values = dict(self._of_shop)
        if product is not None:
            amounts |= {
                "price": product.price,
                "offer": int(discounted(product, profile.haggle)),
            }
            values["product"] = product.name
        return values | {name: f"{money}{amount}" for name, amount in amounts.items()}

    def _topics(self, rng: Random, profile: Shopper, fragments: bool) -> dict[str, str]:
        need, feature = (
            self._catalog.needs[profile.need],
            self._catalog.features[profile.feature],
        )
        if fragments:
            words = need.words[:_COMMON_WORDS], feature.words[:_COMMON_WORDS]
        else:
            words = need.phrases, feature.phrases
        return {"need": rng.choice(words[0]), "feature": rng.choice(words[1])}


@lru_cache(maxsize=8)
def voice(catalog: Catalog, name: str) -> Voice:
    """Return the voice for a shop, one for all who speak there."""
    return Voice(catalog, name)
