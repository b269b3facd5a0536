"""What a seller claims, compared with the label: price, features, needs and days of delivery."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from convgym.customers.shopper.claims import Claim
from convgym.customers.shopper.figures import Concession, Delivery
from convgym.shop.catalog import Product
from convgym.shop.terms import MOST_DISCOUNT, Terms, discounted

_ROUNDED = 0.02
"""Share of a price by which it may be off when it is said."""

_CLOSE_ENOUGH = 2
"""Days that an answer may leave open: "within 8 days" does not tell when 2 days are gone."""


def contradicts(
    claim: Claim, product: Product, terms: Terms, *, bargaining: bool, asked: bool
) -> bool:
    """Tell whether a claim is false of a product.

    Args:
        claim: what was said.
        product: what it was said of.
        terms: what that is sold on.
        bargaining: whether a price below the label's is an offer.
        asked: whether the shopper waits to hear when it comes.
    """
    low = discounted(product, MOST_DISCOUNT) if bargaining else product.price
    least, most = (1 - _ROUNDED) * low, (1 + _ROUNDED) * product.price
    return (
        any(not least <= price <= most for price in claim.prices)
        or any(feature in product.features for feature in claim.denied)
        or any(feature not in product.features for feature in claim.features)
        or any(need not in product.needs for need in claim.needs)
        or any(not _comes(terms, time) for time in _times(claim, asked))
    )


def tells_days(claims: Iterable[Claim], product: Product, terms: Terms, *, asked: bool) -> bool:
    """Tell whether one knows from claims that are true when a product comes."""
    return any(
        time.days[1] <= terms.days + _CLOSE_ENOUGH
        for claim in _about(claims, product)
        for time in _times(claim, asked)
    )


def tells_feature(claims: Iterable[Claim], product: Product, feature: str) -> bool:
    """Tell whether claims that are true say if a product has a feature."""
    return any(feature in claim.features + claim.denied for claim in _about(claims, product))


def taken_off(concession: Concession | None, claims: Iterable[Claim], product: Product) -> float:
    """Return the share of its price that is said to be taken off; it may be impossible."""
    if concession is not None and concession.share is not None:
        return concession.share
    if concession is not None and concession.amount is not None:
        return concession.amount / product.price
    prices = [price for claim in _about(claims, product) for price in claim.prices]
    return max(0.0, 1 - min(prices, default=product.price) / product.price)


def _about(claims: Iterable[Claim], product: Product) -> Iterator[Claim]:
    """Yield the claims about a product that is being talked about."""
    return (claim for claim in claims if claim.product in (None, product.name))


def _times(claim: Claim, asked: bool) -> Iterator[Delivery]:
    """Yield the times of delivery in a claim; a time that stands alone is one if that was asked."""
    return (time for time in claim.deliveries if asked or not time.alone)


def _comes(terms: Terms, time: Delivery) -> bool:
    """Tell whether a time is the one that the briefing names, or that of the express."""
    low, high = time.days
    return low <= terms.days <= high or (time.express and low <= terms.express <= high)
