"""Who the customer is: the hidden profile and the published distribution it is drawn from."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from convgym.catalog import Catalog
from convgym.customers.understanding import OBJECTIONS
from convgym.errors import unknown

Range = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Persona:
    """A kind of customer: uniform ranges that the profile's numbers are drawn from.

    ``patience`` counts turns. ``trust`` and ``talkativeness`` are in [0, 1];
    ``price_sensitivity`` multiplies the price term of the utility. ``objections`` holds the
    probabilities of having none, one or two.
    """

    share: float
    patience: Range
    trust: Range
    talkativeness: Range
    price_sensitivity: Range
    objections: tuple[float, float, float]


PERSONAS: Mapping[str, Persona] = MappingProxyType(
    {
        "easy-going": Persona(
            0.35, (7, 11), (0.4, 0.7), (0.3, 0.7), (0.6, 1.2), (0.35, 0.55, 0.10)
        ),
        "hurried": Persona(
            0.20, (4.5, 6.5), (0.4, 0.6), (0.0, 0.3), (0.6, 1.0), (0.45, 0.50, 0.05)
        ),
        "chatty": Persona(0.20, (9, 12), (0.5, 0.8), (0.7, 1.0), (0.6, 1.2), (0.30, 0.55, 0.15)),
        "bargain-hunter": Persona(
            0.15, (8, 11), (0.3, 0.6), (0.2, 0.6), (1.4, 2.2), (0.20, 0.60, 0.20)
        ),
        "sceptic": Persona(0.10, (7, 10), (0.1, 0.4), (0.1, 0.5), (0.8, 1.4), (0.10, 0.60, 0.30)),
    }
)


@dataclass(frozen=True, slots=True)
class Profile:
    """One customer's hidden needs and temperament; constant through the episode."""

    persona: str
    need: str
    feature: str
    budget: int
    objections: tuple[str, ...]
    patience: float
    trust: float
    talkativeness: float
    price_sensitivity: float


def check_persona(name: str | None) -> None:
    """Raise ConvgymError unless ``name`` is a persona, or None for the mixture."""
    if name is not None and name not in PERSONAS:
        raise unknown("persona", name, PERSONAS)


def draw_profile(
    rng: random.Random, catalog: Catalog, persona: str | None, patience: float | None
) -> Profile:
    """Draw a profile; ``persona`` and ``patience`` are fixed where given."""
    name = (
        persona
        or rng.choices(list(PERSONAS), weights=[kind.share for kind in PERSONAS.values()])[0]
    )
    kind = PERSONAS[name]
    need = rng.choice(list(catalog.needs))
    feature = rng.choice(list(catalog.features))
    # The budget is set around a product that would suit, so that every customer could buy.
    suitable = [p for p in catalog.products if need in p.needs and feature in p.features]
    anchor = rng.choice(suitable or list(catalog.products)).price
    budget = int(anchor * rng.uniform(0.95, 1.35) / 50 + 0.5) * 50
    count = rng.choices((0, 1, 2), weights=kind.objections)[0]
    kinds = rng.sample(OBJECTIONS, count)
    return Profile(
        persona=name,
        need=need,
        feature=feature,
        budget=max(budget, 50),
        objections=tuple(kinds),
        patience=rng.uniform(*kind.patience) if patience is None else patience,
        trust=rng.uniform(*kind.trust),
        talkativeness=rng.uniform(*kind.talkativeness),
        price_sensitivity=rng.uniform(*kind.price_sensitivity),
    )
