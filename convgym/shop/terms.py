"""What a shop sells on: delivery, costs, the discount that a seller may grant, and its rival.

Follows from the catalogue alone, so that every shop has terms, a user's own included::

    delivery    2, 4, 6 or 8 days, by the product's place in the catalogue; express in half of them
    cost        0.72 to 0.80 of the price
    discount    at most 12% of the price, and never below cost
    rival       a shop across the street that sells the same for 3% less, and guarantees nothing
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from convgym.shop.catalog import Catalog, Product

LAW = "v1"
"""The law of customers for whom shops have terms; those of v0 know the catalogue alone."""
MOST_DISCOUNT = 0.12
"""Share of the price that a seller may take off."""
RIVAL_DISCOUNT = 0.03
"""How much less the rival asks."""
_DAYS = (2, 6, 4, 8)
_COST = (0.72, 0.76, 0.80)


@dataclass(frozen=True, slots=True)
class Terms:
    """What one product is sold on: ``days`` until it is delivered, ``cost`` to the shop."""

    days: int
    cost: int

    @property
    def express(self) -> int:
        """Days until the express delivers it."""
        return self.days // 2

    def margin(self, price: float) -> float:
        """Return what is left of a price that was paid."""
        return price - self.cost


@lru_cache(maxsize=16)
def terms_of(catalog: Catalog) -> dict[str, Terms]:
    """Return the terms of every product by its name."""
    return {
        product.name: Terms(
            # Steps of different lengths, so that neither goes with price, need or feature.
            days=_DAYS[(place + place // 4) % len(_DAYS)],
            cost=int(product.price * _COST[(place + place // 3) % len(_COST)]),
        )
        for place, product in enumerate(catalog.products)
    }


def discounted(product: Product, discount: float) -> float:
    """Return the price with a share taken off."""
    return product.price * (1 - discount)


def briefing(catalog: Catalog) -> str:
    """Return what a seller knows: the catalogue, and for every product when it comes."""
    terms = terms_of(catalog)
    days = ", ".join(f"{name} {term.days} days" for name, term in terms.items())
    return (
        f"{catalog.briefing()}\nDelivery: {days}.\nYou may take up to {MOST_DISCOUNT:.0%} off the"
        " price where the price is what stands in the way. You can also offer monthly instalments,"
        " a two year warranty, returns for a full refund, express delivery in half the days,"
        " reviews of other customers, an offer in writing for somebody who is to agree, and to"
        " match the price of the shop across the street."
    )


def briefing_under(law: str | None, catalog: Catalog) -> str:
    """Return what a seller knows where customers buy by a law (``convgym.customers``): v1 or v0."""
    return briefing(catalog) if law == LAW else catalog.briefing()
