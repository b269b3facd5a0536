"""Who the shopper is: the hidden profile and the published distribution it is drawn from.

Persona, need, feature, budget, patience, trust, talkativeness and price sensitivity are drawn as
the scripted customer's (``convgym.customers.profile``). Besides:

- **stated budget**: a range. 65% say what they have, 20% say 80% of it, 15% say 115% of it;
- **objections**, reasons not to buy at once, of six kinds; none, one or two with the persona's
  shares;
- **questions** of its own: none, one or two with 25%, 55% and 20%, and for who talks little (below
  0.3) with 50%, 45% and 5%;
- **haggle**: the share of the price that it wants off, for those whom the price bothers; half of
  them want 3% to 11%, the others nothing in particular;
- **mood**: cheerful 30%, neutral 45%, grumpy 25%; it colours words alone.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from convgym.customers.personas import Personas
from convgym.customers.profile import Profile, check_profile, draw_profile
from convgym.errors import ConvgymError, unknown
from convgym.shop.catalog import Catalog

OBJECTIONS = ("price", "warranty", "delivery", "reviews", "partner", "rival")
"""Reasons to hesitate; a seller who finds out can put each of them right."""

QUESTIONS = ("spec", "delivery", "compare")
"""What a shopper asks of its own accord."""

MOODS = ("cheerful", "neutral", "grumpy")


@dataclass(frozen=True, slots=True)
class Shopper:
    """One shopper's hidden wishes and temperament; constant through the episode.

    ``budget`` is what it can pay, ``low`` and ``high`` are what it says. ``wish`` is the feature
    that it asks about if it asks for a specification.
    """

    persona: str
    need: str
    feature: str
    wish: str
    budget: int
    low: int
    high: int
    objections: tuple[str, ...]
    questions: tuple[str, ...]
    haggle: float
    mood: str
    patience: float
    trust: float
    talkativeness: float
    price_sensitivity: float


_ITS_OWN = ("wish", "low", "high", "objections", "questions", "haggle", "mood")
_SHARED = tuple(f.name for f in fields(Profile) if f.name != "objections")


def draw_shopper(
    rng: random.Random,
    catalog: Catalog,
    persona: str | None,
    patience: float | None,
    *,
    personas: Personas,
    fixed: Mapping[str, Any] | None = None,
) -> Shopper:
    """Draw a profile; ``persona``, ``patience`` and the fields in ``fixed`` are as given."""
    fixed = fixed or {}
    shared = {name: value for name, value in fixed.items() if name in _SHARED}
    drawn = asdict(draw_profile(rng, catalog, persona, patience, personas=personas, fixed=shared))
    # How many objections there are follows the persona's shares; of which kind is v1's.
    objections = rng.sample(OBJECTIONS, len(drawn.pop("objections")))
    quiet = drawn["talkativeness"] < 0.3
    number = rng.choices((0, 1, 2), weights=(50, 45, 5) if quiet else (25, 55, 20))[0]
    questions = rng.sample(QUESTIONS, number)
    wish = rng.choice([name for name in catalog.features if name != drawn["feature"]])
    factor = rng.choices((1.0, 0.8, 1.15), weights=(65, 20, 15))[0]
    step = catalog.budget_step
    high = max(step, int(drawn["budget"] * factor / step + 0.5) * step)
    low = max(step, int(high * rng.uniform(0.6, 0.85) / step + 0.5) * step)
    wanted = rng.uniform(0.03, 0.11)
    haggle = wanted if rng.random() < 0.5 else 0.0
    mood = rng.choices(MOODS, weights=(30, 45, 25))[0]
    own: dict[str, Any] = {
        "wish": wish,
        "low": min(low, high),
        "high": high,
        "objections": tuple(objections),
        "questions": tuple(questions),
        "haggle": haggle,
        "mood": mood,
    }
    own |= {name: value for name, value in fixed.items() if name in _ITS_OWN}
    own["objections"], own["questions"] = tuple(own["objections"]), tuple(own["questions"])
    return Shopper(**drawn, **own)


def check_shopper(profile: object, catalog: Catalog, personas: Personas) -> dict[str, Any]:
    """Return the fields that ``profile`` fixes, or raise ConvgymError saying what is wrong."""
    if not isinstance(profile, Mapping):
        raise ConvgymError(f"a profile must be a mapping of fields to values, got {profile!r}")
    known = [field.name for field in fields(Shopper)]
    for name in profile:
        if name not in known:
            raise unknown("profile field", name, known)
    shared = {name: value for name, value in profile.items() if name in _SHARED}
    checked = check_profile(shared, catalog, personas)
    for name, value in profile.items():
        if name in _ITS_OWN and (expected := _expected(name, value, catalog)):
            raise ConvgymError(f"the profile's {name} must be {expected}, got {value!r}")
        checked[name] = value
    return checked


def _expected(name: str, value: Any, catalog: Catalog) -> str:
    """Return what a field's value should be, or nothing if it is that."""
    if name in ("wish", "mood"):
        choices = tuple(catalog.features) if name == "wish" else MOODS
        return "" if isinstance(value, str) and value in choices else f"one of {', '.join(choices)}"
    if name in ("objections", "questions"):
        choices = OBJECTIONS if name == "objections" else QUESTIONS
        good = isinstance(value, list | tuple) and all(kind in choices for kind in value)
        good = good and len(set(value)) == len(value)
        return "" if good else f"different ones of {', '.join(choices)}, in a list or tuple"
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if name == "haggle":
        return "" if number and 0 <= value < 1 else "a share of the price in [0, 1)"
    return "" if number and isinstance(value, int) and value > 0 else "a whole number above 0"
