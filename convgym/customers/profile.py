"""Who the customer is: the hidden profile and the published distribution it is drawn from."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from dataclasses import dataclass, fields
from types import MappingProxyType
from typing import Any

from convgym.customers.personas import Persona, Personas, load_personas
from convgym.errors import ConvgymError, unknown
from convgym.shop.catalog import Catalog
from convgym.shop.language import OBJECTIONS

PERSONAS: Mapping[str, Persona] = MappingProxyType(load_personas("default").personas)
"""The kinds of customers that come in unless others are asked for."""


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


def draw_profile(
    rng: random.Random,
    catalog: Catalog,
    persona: str | None,
    patience: float | None,
    *,
    personas: Personas | None = None,
    fixed: Mapping[str, Any] | None = None,
) -> Profile:
    """Draw a profile; ``persona``, ``patience`` and the fields in ``fixed`` are as given.

    A budget that is not fixed suits the need and the feature, also where these are.
    """
    personas, fixed = personas or load_personas("default"), fixed or {}
    kinds = personas.personas
    name = (
        fixed.get("persona")
        or persona
        or rng.choices(list(kinds), weights=[kind.share for kind in kinds.values()])[0]
    )
    kind = personas[name]
    # What is fixed is drawn all the same, so that it leaves what is not as it would have been.
    need = fixed.get("need", rng.choice(list(catalog.needs)))
    feature = fixed.get("feature", rng.choice(list(catalog.features)))
    # The budget is set around a product that would suit, so that every customer could buy.
    suitable = [p for p in catalog.products if need in p.needs and feature in p.features]
    anchor = rng.choice(suitable or list(catalog.products)).price
    step = catalog.budget_step
    budget = int(anchor * rng.uniform(0.95, 1.35) / step + 0.5) * step
    count = rng.choices((0, 1, 2), weights=kind.objections)[0]
    objections = rng.sample(OBJECTIONS, count)
    return Profile(
        persona=name,
        need=need,
        feature=feature,
        budget=fixed.get("budget", max(budget, step)),
        objections=tuple(fixed.get("objections", objections)),
        patience=fixed.get(
            "patience", rng.uniform(*kind.patience) if patience is None else patience
        ),
        trust=fixed.get("trust", rng.uniform(*kind.trust)),
        talkativeness=fixed.get("talkativeness", rng.uniform(*kind.talkativeness)),
        price_sensitivity=fixed.get("price_sensitivity", rng.uniform(*kind.price_sensitivity)),
    )


def check_profile(profile: object, catalog: Catalog, personas: Personas) -> dict[str, Any]:
    """Return the fields that ``profile`` fixes, or raise ConvgymError saying what is wrong."""
    if not isinstance(profile, Mapping):
        raise ConvgymError(f"a profile must be a mapping of fields to values, got {profile!r}")
    known = [field.name for field in fields(Profile)]
    for name, value in profile.items():
        if name not in known:
            raise unknown("profile field", name, known)
        expected = _expected(name, value, catalog, personas)
        if expected:
            raise ConvgymError(f"the profile's {name} must be {expected}, got {value!r}")
    return dict(profile)


def _expected(name: str, value: Any, catalog: Catalog, personas: Personas) -> str:
    """Return what a field's value should be, or nothing if it is that."""
    choices: Mapping[str, Mapping[str, object]] = {
        "persona": personas.personas,
        "need": catalog.needs,
        "feature": catalog.features,
    }
    if name in choices:
        known = choices[name]
        good = isinstance(value, str) and value in known
        return "" if good else f"one of {', '.join(known)}"
    if name == "objections":
        good = isinstance(value, (list, tuple)) and all(kind in OBJECTIONS for kind in value)
        good = good and len(set(value)) == len(value)
        return "" if good else f"different ones of {', '.join(OBJECTIONS)}, in a list or tuple"
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if name == "budget":
        return "" if number and isinstance(value, int) and value > 0 else "a whole number above 0"
    if name in ("trust", "talkativeness"):
        return "" if number and 0 <= value <= 1 else "a number in [0, 1]"
    if name == "patience":
        return "" if number and 0 < value < math.inf else "a positive number of turns"
    return "" if number and 0 <= value < math.inf else "a number from 0 upwards"
