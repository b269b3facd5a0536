"""The shopper's law of buying: what a conversation does to it, and what an offer is worth to it.

The formulas stand in the text of ``convgym.customers.shopper.customer``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

from convgym.customers.scripted.buying import Feelings, Temper
from convgym.customers.shopper.profile import Shopper
from convgym.shop.catalog import Product
from convgym.shop.language import TOPICS
from convgym.shop.terms import discounted

TACITURN = 0.35
"""Who talks less gives no reason with a refusal unless it is asked."""


@dataclass(frozen=True, slots=True)
class Weights:
    """Weights of the purchase utility, in log-odds; ``utility`` adds them up."""

    base: float = -7.5
    need: float = 4.0
    feature: float = 1.8
    understood: float = 2.7
    trust: float = 2.5
    annoyance: float = 0.8
    over: float = 14.0
    cheap: float = 6.0
    raised: float = 3.4
    unspoken: float = 3.2
    unanswered: float = 2.5


GOOD_QUESTION = Temper(trust=0.04)
GOOD_ANSWER = Temper(trust=0.10)
GOOD_OFFER = Temper(trust=0.08)
HONEST_NO = Temper(trust=0.05)
BAD_OFFER = Temper(patience=1.0, annoyance=0.5, trust=-0.08)
BLIND_OFFER = Temper(patience=1.5, annoyance=0.7, trust=-0.10)
DODGED = Temper(patience=1.0, annoyance=0.5, trust=-0.05)
OFF_TOPIC = Temper(patience=0.5, annoyance=0.3)
WRONG_REMEDY = Temper(patience=1.0, annoyance=0.5)
UNASKED_DISCOUNT = Temper(annoyance=0.2, trust=-0.10)
TOLD_BEFORE = Temper(patience=1.0, annoyance=0.5)
REPEATED = Temper(patience=1.5, annoyance=0.8, trust=-0.05)
SILENCE = Temper(patience=1.5, annoyance=0.5)
GARBLED = Temper(patience=1.5, annoyance=0.8, trust=-0.10)
STUFFED = Temper(patience=1.5, annoyance=0.8, trust=-0.15)
TOO_LONG = Temper(patience=1.0, annoyance=0.5)
FALSE_CLAIM = Temper(patience=0.5, annoyance=0.6, trust=-0.30)
WRONG_SHOP = Temper(patience=1.0, annoyance=0.5, trust=-0.10)
PUSHY = Temper(patience=1.0, annoyance=0.8, trust=-0.10)
CLOSED_TOO_EARLY = Temper(patience=1.0, annoyance=0.8, trust=-0.10)
REFUSED = Temper(patience=1.0, annoyance=0.3)


@dataclass(slots=True)
class Account:
    """What is counted of a seller in a conversation, beside whether it sold."""

    false_claims: int = 0
    pushes: int = 0
    repetitions: int = 0
    discount: float = 0.0
    price: float | None = None
    margin: float | None = None


@dataclass(slots=True)
class State(Feelings):
    """What changes in a conversation.

    ``question`` is the shopper's own that waits for an answer; ``about`` is the product that it
    asks to have compared; ``last`` is what it said last, to be said again.
    """

    disclosed: set[str] = field(default_factory=set)
    unspoken: list[str] = field(default_factory=list)
    raised: list[str] = field(default_factory=list)
    questions: list[str] = field(default_factory=list)
    question: str | None = None
    about: str | None = None
    product: Product | None = None
    discount: float = 0.0
    refused: float = -math.inf
    heard: set[str] = field(default_factory=set)
    evaded: set[str] = field(default_factory=set)
    said: list[str] = field(default_factory=list)
    last: str = ""
    account: Account = field(default_factory=Account)

    def copy(self) -> State:
        """Return a state that goes on by itself."""
        return replace(
            self,
            disclosed=set(self.disclosed),
            unspoken=list(self.unspoken),
            raised=list(self.raised),
            questions=list(self.questions),
            heard=set(self.heard),
            evaded=set(self.evaded),
            said=list(self.said),
            account=replace(self.account),
        )


def suits(profile: Shopper, product: Product) -> bool:
    """Tell whether a product is for what the shopper needs, and has what it cares about most."""
    return profile.need in product.needs and profile.feature in product.features


def affordable(profile: Shopper, product: Product, discount: float) -> bool:
    """Tell whether a price is within, or hardly above, the budget."""
    return discounted(product, discount) <= 1.1 * profile.budget


def fits(profile: Shopper, product: Product, discount: float, topic: str) -> bool:
    """Tell whether a product meets what the shopper said, or would say, of a topic."""
    if topic == "need":
        return profile.need in product.needs
    if topic == "feature":
        return profile.feature in product.features
    ratio = discounted(product, discount) / profile.budget
    return 0.6 <= ratio <= 1.05


def utility(
    profile: Shopper,
    state: State,
    product: Product,
    weights: Weights,
    discount: float | None = None,
) -> float:
    """Return the log-odds of buying ``product`` in this state (formula: see ``customer``)."""
    w = weights
    discount = state.discount if discount is None else discount
    ratio = discounted(product, discount) / profile.budget
    price_term = w.over * max(0.0, ratio - 1) + w.cheap * max(0.0, 0.6 - ratio)
    fitting = sum(fits(profile, product, discount, topic) for topic in state.disclosed)
    return (
        w.base
        + w.need * (profile.need in product.needs)
        + w.feature * (profile.feature in product.features)
        + w.understood * fitting / len(TOPICS)
        + w.trust * state.trust
        - w.annoyance * state.annoyance
        - profile.price_sensitivity * price_term
        - w.raised * len(state.raised)
        - w.unspoken * len(state.unspoken)
        - w.unanswered * (state.question is not None)
    )
