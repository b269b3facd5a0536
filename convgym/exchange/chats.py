"""Chats as a foreign file holds them: who said what, before anybody decides what counts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Said:
    """One message of a foreign file."""

    role: str
    """Who speaks, in the file's own word; ``user`` or ``assistant`` once the sides are known."""
    text: str
    place: str
    """Where it stands: ``line 12``."""


@dataclass(frozen=True, slots=True)
class Chat:
    """One conversation of a foreign file, in the order in which it was held."""

    id: str
    place: str
    messages: tuple[Said, ...]
    fields: Mapping[str, object]
    """What else the file says of the conversation, by the names of its fields or columns."""
