"""Kinds of customers: validated data files with published distributions (``convgym/personas``)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator

from convgym import datafiles
from convgym.datafiles import Frozen
from convgym.errors import unknown

# Whole numbers stay whole: fingerprints are made from what the file says.
Number = int | float


def _ordered(values: tuple[Number, Number]) -> tuple[Number, Number]:
    if not 0 <= values[0] <= values[1] < math.inf:
        raise ValueError(f"a range must be two numbers with 0 <= low <= high, got {list(values)}")
    return values


def _shares(values: tuple[Number, Number]) -> tuple[Number, Number]:
    if values[1] > 1:
        raise ValueError(f"a range in [0, 1] was expected, got {list(values)}")
    return values


Range = Annotated[tuple[Number, Number], AfterValidator(_ordered)]
UnitRange = Annotated[Range, AfterValidator(_shares)]
Probability = Annotated[Number, Field(ge=0, le=1)]


class Persona(Frozen):
    """A kind of customer: uniform ranges that the profile's numbers are drawn from, and manners.

    ``patience`` counts turns. ``trust`` and ``talkativeness`` are in [0, 1];
    ``price_sensitivity`` multiplies the price term of the utility. ``objections`` holds the
    probabilities of having none, one or two.

    A question is evaded with probability ``evades``: the answer is beside the point
    (``"tangent"``) or none at all (``"silence"``). The same topic is evaded only once, and asking
    for it again, in the same words even, costs the turn and nothing else. With ``fragments`` all
    is said in a word or two. One who never ``buys`` only looks, whatever the offer.
    """

    share: Annotated[Number, Field(gt=0, le=1)]
    patience: Range
    trust: UnitRange
    talkativeness: UnitRange
    price_sensitivity: Range
    objections: tuple[Probability, Probability, Probability]
    # Optional fields are left out of fingerprints where they have their default.
    evades: Probability = 0
    evasion: Literal["tangent", "silence"] = "tangent"
    fragments: bool = False
    buys: bool = True

    @model_validator(mode="after")
    def _consistent(self) -> Persona:
        if not math.isclose(sum(self.objections), 1):
            raise ValueError(f"objections must add up to 1, got {sum(self.objections):g}")
        if self.patience[0] <= 0:
            raise ValueError(f"patience must be above 0 turns, got {self.patience[0]}")
        return self


class Personas(Frozen):
    """A population: personas whose shares add up to 1."""

    name: str
    personas: dict[str, Persona] = Field(min_length=1)

    @model_validator(mode="after")
    def _complete(self) -> Personas:
        total = sum(persona.share for persona in self.personas.values())
        if not math.isclose(total, 1):
            raise ValueError(f"shares must add up to 1, got {total:g}")
        return self

    def __hash__(self) -> int:
        # As for catalogues: the name is enough to key caches, equality does the rest.
        return hash(self.name)

    def __getitem__(self, name: str) -> Persona:
        """Return the persona called ``name``; ConvgymError if there is none."""
        if not isinstance(name, str) or name not in self.personas:
            raise unknown("persona", name, self.personas)
        return self.personas[name]

    def settings(self) -> Mapping[str, Any]:
        """Return what fingerprints are made from."""
        dump = self.model_dump(mode="json", exclude_defaults=True)
        personas: Mapping[str, Any] = dump["personas"]
        return personas

    @property
    def mannered(self) -> bool:
        """Whether any persona has manners that need words of their own."""
        return any(
            kind.evades or kind.fragments or not kind.buys for kind in self.personas.values()
        )


def load_personas(source: str | Path | Personas) -> Personas:
    """Return a population by name, from a JSON file, or as given.

    Raises ConvgymError for an unknown name, a file that is missing or one that does not validate.
    """
    if isinstance(source, Personas):
        return source
    return _read(datafiles.find(source, "personas", "population of personas"))


@lru_cache(maxsize=32)
def _read(path: Path) -> Personas:
    return datafiles.read(Personas, path, "population of personas")
