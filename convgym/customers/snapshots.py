"""Snapshots that say whose they are: none is restored into another kind of customer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from convgym.errors import ConvgymError


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A customer's state, and the kind of customer and shop that it is of: ``scripted laptops``."""

    owner: str
    state: Any


def opened(snapshot: object, owner: str) -> Any:
    """Return the state in a snapshot; ConvgymError unless it is one of ``owner``."""
    if isinstance(snapshot, Snapshot) and snapshot.owner == owner:
        return snapshot.state
    given = (
        f"one of {snapshot.owner!r}"
        if isinstance(snapshot, Snapshot)
        else f"{type(snapshot).__name__}: {repr(snapshot)[:60]}"
    )
    raise ConvgymError(
        f"expected a snapshot of {owner!r}, got {given}: restore what snapshot() of a customer of"
        " the same kind, in the same shop, returned"
    )
