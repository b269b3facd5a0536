"""Does the customer decide as its profile says, and hold its deal-breakers?

arXiv 2605.08334 measures how far simulated shoppers' actions agree with the persona that they were
given: the best model reached 79%. Here a decision is judged by the product that was last under
discussion and the profile: what it is needed for and the budget are deal-breakers, the feature is a
wish.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from convgym.benchmarks.validation.encounters import Meeting
from convgym.benchmarks.validation.realism.bootstrap import share_of
from convgym.benchmarks.validation.realism.figures import Figure, figure, not_measured
from convgym.sellers.knowledge import SellerKnowledge
from convgym.shop.catalog import Catalog, Product

STRETCH = 1.1
"""A price may be so many times the budget before it breaks a deal: people round their budgets, and
the shopper of Sales-v1 calls so much affordable."""

HELD = 0.9
"""Of the offers that break a deal-breaker, at least so many are refused to the end. The best model
of arXiv 2605.08334 aligned to 79%; a purchase of what cannot be used or paid teaches a seller that
needs and budgets do not matter."""

_BROKEN = "deal-breakers hold: an offer that breaks one is not bought"
_FITTING = "purchases that fit need and budget"
_WISH = "purchases that have the feature, too"
_TAKEN = "offers that break none are bought"


@dataclass(frozen=True, slots=True)
class Offer:
    """What a conversation ended with: the offer against the profile, and the decision."""

    seed: int
    for_need: bool
    in_budget: bool
    has_feature: bool | None
    bought: bool

    @property
    def breaks(self) -> bool:
        return not (self.for_need and self.in_budget)


def offer_of(meeting: Meeting, shop: SellerKnowledge) -> Offer | None:
    """Return the last offer of a conversation, None where profile or product cannot be read.

    The profile is the hidden state's, the product that which the hidden state names or else that
    which the seller named last, and the price less the discount that the hidden state tells.
    """
    profile = meeting.latents[-1] if meeting.latents else {}
    product = _product(profile, meeting, shop)
    need, budget = profile.get("need"), profile.get("budget")
    if product is None or not isinstance(need, str) or not isinstance(budget, int | float):
        return None
    discount = profile.get("discount")
    price = product.price * (1 - (discount if isinstance(discount, float) else 0.0))
    return Offer(
        meeting.episode.seed,
        need in product.needs,
        price <= STRETCH * budget,
        profile["feature"] in product.features if profile.get("feature") else None,
        meeting.episode.converted,
    )


def _product(profile: Mapping[str, Any], meeting: Meeting, shop: SellerKnowledge) -> Product | None:
    """Return what the last words were about: the seller's last line may name another product."""
    named = shop.note(
        [{"role": "assistant", "content": text} for text in meeting.said[-1:]]
    ).product
    if named is not None:
        return named
    told = profile.get("product")
    if isinstance(told, str):
        return shop.catalog.product(told)
    return shop.note(meeting.episode.messages()).product if meeting.said else None


def alignment(meetings: Sequence[Meeting], catalog: Catalog) -> tuple[Figure, ...]:
    """Return how far decisions agree with profiles; not measured where no profile can be read."""
    shop = SellerKnowledge(catalog)
    offers = [offer for meeting in meetings if (offer := offer_of(meeting, shop)) is not None]
    if not offers:
        why = "no need and budget can be read in its hidden state, or it was never made an offer"
        return tuple(not_measured(name, why) for name in (_BROKEN, _FITTING, _WISH, _TAKEN))
    breaking = [offer for offer in offers if offer.breaks]
    purchases = [offer for offer in offers if offer.bought]
    wishing = [offer for offer in purchases if offer.has_feature is not None]
    return (
        _share(_BROKEN, breaking, [not offer.bought for offer in breaking], least=HELD),
        _share(_FITTING, purchases, [not offer.breaks for offer in purchases]),
        _share(_WISH, wishing, [bool(offer.has_feature) for offer in wishing]),
        _share(_TAKEN, whole := [o for o in offers if not o.breaks], [o.bought for o in whole]),
    )


def _share(
    name: str, offers: Sequence[Offer], holds: Sequence[bool], least: float | None = None
) -> Figure:
    """Return a share of offers, those to one customer being one cluster."""
    parts: dict[int, int] = {}
    wholes: dict[int, int] = {}
    for offer, held in zip(offers, holds, strict=True):
        parts[offer.seed] = parts.get(offer.seed, 0) + held
        wholes[offer.seed] = wholes.get(offer.seed, 0) + 1
    estimate = share_of([*parts.values()], [*wholes.values()])
    return figure(name, estimate, len(offers), "conversations with an offer", least=least)
