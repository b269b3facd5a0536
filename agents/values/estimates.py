"""What a fitted Q says of a logged conversation."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ValueEstimates:
    """What a member that has not seen a conversation of n turns says of it."""

    token_values: tuple[float, ...]
    """Of the state in which each response token was chosen."""
    values: tuple[float, ...]
    """V(s) of every turn."""
    advantages: tuple[float, ...]
    """The fitted A(s, a) of every turn."""
    returns: tuple[float, ...]
    """The lambda-return of every turn."""
