"""The original of an imitation, with its profile on record."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, Protocol, cast

from convgym.customers import make_customer
from convgym.customers.base import Customer, Reply

SHORTEST, LONGEST = 1.0, 14.0
"""Turns of patience of those whose patience is drawn anew."""


class Original(Customer, Protocol):
    """A customer that can be imitated: its profile is a dataclass, and can be fixed in part."""

    @property
    def profile(self) -> Any:
        """The hidden profile of the present customer, a dataclass."""

    def reset(self, seed: int, profile: Mapping[str, Any] | None = None) -> str:
        """Become a new customer, with some fields of its profile fixed."""


def profile_of(original: Original) -> dict[str, Any]:
    """Return the hidden profile of the present customer as plain data, by field."""
    return asdict(original.profile)


class Recorded:
    """A customer whose profile goes into the metadata of its episodes.

    Args:
        customer: the original, by name.
        strange: the share of customers whose patience is drawn from ``SHORTEST`` to ``LONGEST``,
            so that the imitation knows what patience does beyond that of the population.
        **options: of the original.
    """

    def __init__(self, customer: str, strange: float = 0.0, **options: Any) -> None:
        self._original = cast("Original", make_customer(customer, **options))
        self._strange = strange
        self.catalog = getattr(self._original, "catalog", None)

    @property
    def fingerprint(self) -> str:
        return self._original.fingerprint

    @property
    def latent(self) -> dict[str, Any]:
        return self._original.latent

    @property
    def record(self) -> dict[str, Any]:
        """``profile``: who the customer is."""
        return {"profile": profile_of(self._original)}

    def reset(self, seed: int) -> str:
        rng = random.Random(f"strange/{seed}")
        if rng.random() < self._strange:
            return self._original.reset(seed, {"patience": rng.uniform(SHORTEST, LONGEST)})
        return self._original.reset(seed)

    def respond(self, utterance: str) -> Reply:
        return self._original.respond(utterance)
