"""What a customer reads on the label of what it is offered.

A model that imitates a customer knows the words of a conversation. Who each product is for and
what it costs stands on the product, and no customer learns it by heart: an imitation that was told
words alone bought whatever it was offered (``docs/learned_customer.md``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from convgym.customers.scripted.understanding import understanding
from convgym.shop.catalog import Catalog, Product

LARGEST_SHARE = 2.0


@dataclass(frozen=True, slots=True)
class Label:
    """How a product's label compares with what the customer looks for.

    ``need`` and ``feature`` tell whether the customer's own are on it, ``share`` is the price as a
    share of the budget: a multiple of 0.1, ``LARGEST_SHARE`` at most.
    """

    need: bool
    feature: bool
    share: float


def offered(catalog: Catalog, utterance: str, before: Product | None = None) -> Product | None:
    """Return the product under discussion after a seller's utterance.

    Args:
        catalog: of the shop.
        utterance: the seller's words.
        before: the product under discussion before them.
    """
    name = understanding(catalog).understand(utterance).recommends
    return catalog.product(name) if name else before


def read_label(profile: Mapping[str, Any], product: Product | None) -> Label | None:
    """Return what a customer with this profile reads on a product; None where none is offered.

    Args:
        profile: by field; without ``need``, ``feature`` and ``budget`` nothing is compared.
        product: the one under discussion.
    """
    if product is None or not {"need", "feature", "budget"} <= set(profile):
        return None
    share = round(min(LARGEST_SHARE, product.price / profile["budget"]), 1)
    return Label(profile["need"] in product.needs, profile["feature"] in product.features, share)
