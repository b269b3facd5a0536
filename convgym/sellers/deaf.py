"""The deaf seller: one script for everybody, whatever they say.

It asks its questions, recommends the same product to all, gives every answer before anybody worries
and closes; refused, it offers a second product and a third one, the same to all again. Whoever
wants to show that an agent *listens* has to sell more than it does: it, not the random seller, is
the floor for that. The script of each shop is the best that
``convgym.benchmarks.studies.deaf_search`` found on training customers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from convgym.shop.catalog import Catalog, Product

Plan = tuple[tuple[str, ...], ...]
"""Kinds of dialogue acts (``convgym.sellers.knowledge``), those of one utterance together."""

ANSWERS = ("answer_price", "answer_warranty", "answer_delivery", "answer_reviews")
# More than three acts in an utterance are too much at once.
PITCH: Plan = (("recommend", *ANSWERS[:2]), (*ANSWERS[2:], "close"), ("close",))


@dataclass(frozen=True, slots=True)
class Script:
    """What is said turn by turn, the last of it for ever.

    ``products`` are those that are recommended, one for each "recommend" in ``plan``.
    """

    products: tuple[str, ...]
    plan: Plan

    def acts(self, turn: int) -> list[tuple[str, str | None]]:
        """Return what is said in a turn, counted from 0: kinds of acts, and what is recommended."""
        turn = min(turn, len(self.plan) - 1)
        before = sum(kinds.count("recommend") for kinds in self.plan[:turn])
        return [
            (kind, self.products[before] if kind == "recommend" else None)
            for kind in self.plan[turn]
        ]


def ask(*topics: str) -> Plan:
    """Return questions, one a turn."""
    return tuple((f"ask_{topic}",) for topic in topics)


_NEED_BUDGET_FEATURE = ask("need", "budget", "feature")
_NEED_FEATURE_BUDGET = ask("need", "feature", "budget")
_DELIVERY_FIRST: Plan = (("recommend", *ANSWERS[2:]), (*ANSWERS[:2], "close"))
_TWO_MORE: Plan = (("recommend", "close"), ("recommend", "close"))

SCRIPTS: Mapping[str, Script] = MappingProxyType(
    {
        "bicycles": Script(
            ("Bittern", "Finch", "Ibis"), (*_NEED_BUDGET_FEATURE, *PITCH[:2], *_TWO_MORE)
        ),
        "insurance": Script(
            ("Fortress", "Juniper", "Anchor"),
            (*_NEED_FEATURE_BUDGET, *_DELIVERY_FIRST, *_TWO_MORE),
        ),
        "laptops": Script(
            ("Ember", "Nova", "Boreal"), (*_NEED_BUDGET_FEATURE, *PITCH[:2], *_TWO_MORE)
        ),
        "mobile": Script(
            ("Basil", "Ruby", "Lilac"), (*_NEED_BUDGET_FEATURE, *_DELIVERY_FIRST, *_TWO_MORE)
        ),
    }
)
"""The best script by the name of the catalogue."""


def script_for(catalog: Catalog) -> Script:
    """Return the script for a shop.

    In a shop without one of its own, the products are those that suit most wishes, a wish being a
    need and a feature, and of these the cheapest.
    """
    if catalog.name in SCRIPTS:
        return SCRIPTS[catalog.name]

    def dislike(product: Product) -> tuple[int, float]:
        return -len(product.needs) * len(product.features), product.price

    best = sorted(catalog.products, key=dislike)[:3]
    plan = (*_NEED_BUDGET_FEATURE, *PITCH[:2], *_TWO_MORE)
    return Script(tuple(product.name for product in best), plan)
