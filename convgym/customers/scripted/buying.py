"""The law of buying: what a conversation does to a customer, and what an offer is worth to it.

The formulas stand in the text of ``convgym.customers.scripted.customer``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

from convgym.customers.profile import Profile
from convgym.shop.catalog import Product
from convgym.shop.language import TOPICS


@dataclass(frozen=True, slots=True)
class Utility:
    """Weights of the purchase utility, in log-odds; ``utility`` adds them up."""

    base: float = -7.6
    need: float = 3.5
    feature: float = 1.8
    understood: float = 3.0
    trust: float = 2.5
    annoyance: float = 0.8
    over: float = 10.0
    cheap: float = 6.0
    raised: float = 2.5
    unspoken: float = 1.5


@dataclass(frozen=True, slots=True)
class Temper:
    """What a turn costs: ``patience`` is in turns, on top of the turn itself."""

    patience: float = 0.0
    annoyance: float = 0.0
    trust: float = 0.0


GOOD_QUESTION = Temper(trust=0.05)


GOOD_ANSWER = Temper(trust=0.10)


GOOD_OFFER = Temper(trust=0.10)


BAD_OFFER = Temper(patience=0.5, annoyance=0.4, trust=-0.05)


OFF_TOPIC = Temper(patience=0.5, annoyance=0.3)


TOLD_BEFORE = Temper(patience=1.0, annoyance=0.5)


REPEATED = Temper(patience=1.5, annoyance=0.8, trust=-0.05)


SILENCE = Temper(patience=1.5, annoyance=0.5)


GARBLED = Temper(patience=1.5, annoyance=0.8, trust=-0.10)


STUFFED = Temper(patience=1.5, annoyance=0.8, trust=-0.15)


TOO_LONG = Temper(patience=1.0, annoyance=0.5)


FALSE_CLAIM = Temper(patience=0.5, annoyance=0.5, trust=-0.25)


PUSHY = Temper(patience=1.0, annoyance=0.8, trust=-0.10)


CLOSED_TOO_EARLY = Temper(patience=1.0, annoyance=0.8, trust=-0.10)


REFUSED = Temper(patience=1.0, annoyance=0.5)


NEVER = 1000.0
"""Log-odds that no offer makes good: the probability of buying is 0 to the last bit."""


@dataclass(slots=True)
class Feelings:
    """How a customer feels about the conversation: patience in turns, trust in [0, 1]."""

    patience: float
    trust: float
    annoyance: float = 0.0

    def feel(self, temper: Temper) -> None:
        """Let a turn cost what it costs."""
        self.patience -= temper.patience
        self.annoyance += temper.annoyance
        self.trust = min(1.0, max(0.0, self.trust + temper.trust))


@dataclass(slots=True)
class State(Feelings):
    """What changes in a conversation."""

    disclosed: set[str] = field(default_factory=set)
    unspoken: list[str] = field(default_factory=list)
    raised: list[str] = field(default_factory=list)
    product: Product | None = None
    refused: float = -math.inf
    heard: set[str] = field(default_factory=set)
    evaded: set[str] = field(default_factory=set)

    def copy(self) -> State:
        """Return a state that goes on by itself."""
        return replace(
            self,
            disclosed=set(self.disclosed),
            unspoken=list(self.unspoken),
            raised=list(self.raised),
            heard=set(self.heard),
            evaded=set(self.evaded),
        )


def sigmoid(x: float) -> float:
    """Return 1 / (1 + exp(-x)) without overflow."""
    return 1 / (1 + math.exp(-x)) if x >= 0 else math.exp(x) / (1 + math.exp(x))


def _softplus(x: float) -> float:
    return max(x, 0.0) + math.log1p(math.exp(-abs(x)))


def utility(
    profile: Profile, state: State, product: Product, weights: Utility | None = None
) -> float:
    """Return the log-odds of buying ``product`` in this state (formula: see ``customer``)."""
    w = weights or Utility()
    ratio = product.price / profile.budget
    price_term = w.over * max(0.0, ratio - 1) + w.cheap * max(0.0, 0.6 - ratio)
    return (
        w.base
        + w.need * (profile.need in product.needs)
        + w.feature * (profile.feature in product.features)
        + w.understood * len(state.disclosed) / len(TOPICS)
        + w.trust * state.trust
        - w.annoyance * state.annoyance
        - profile.price_sensitivity * price_term
        - w.raised * len(state.raised)
        - w.unspoken * len(state.unspoken)
    )


def purchase_probability(utility: float, refused: float) -> float:
    """Return the probability of a yes at ``utility`` after a no at ``refused`` (-inf: none)."""
    if utility <= refused:
        return 0.0
    # 1 - sigmoid(-u) / sigmoid(-r), in logarithms so that large utilities do not divide 0 by 0.
    return -math.expm1(_softplus(refused) - _softplus(utility))
