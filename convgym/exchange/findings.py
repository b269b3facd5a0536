"""What an import left out or changed: counted by reason, with the first examples."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Literal

Kind = Literal["conversations left out", "messages left out", "changed"]

REASONS: dict[str, tuple[Kind, str]] = {
    "no-outcome": ("conversations left out", "nothing says how it ended"),
    "no-customer": ("conversations left out", "the customer says nothing"),
    "no-seller": ("conversations left out", "the seller never answers the customer"),
    "copy": ("conversations left out", "the same as an earlier one of the same id"),
    "bad-row": ("messages left out", "a row that cannot be read"),
    "no-id": ("messages left out", "a row without the id of a conversation"),
    "no-speaker": ("messages left out", "nothing says who speaks"),
    "bystander": ("messages left out", "of neither side, such as a system's"),
    "empty": ("messages left out", "without text"),
    "no-text": ("messages left out", "a part that is no text, such as a picture or a tool's call"),
    "repeated-row": ("messages left out", "the same speaker, text and time as a row before"),
    "greeting": ("messages left out", "said by the seller before the customer's first words"),
    "joined": ("changed", "a message joined to the one before, of the same side"),
    "cut": ("changed", "a text cut to the longest that is read"),
    "reordered": ("changed", "a conversation whose rows were put in order"),
    "unordered": ("changed", "a conversation left in the file's order: a time cannot be read"),
    "renamed": ("changed", "another conversation of an id that was taken: its id has a number now"),
    "outcomes-differ": ("changed", "rows give several outcomes: the last one counts"),
    "lost": ("changed", "nothing says how it ended: counted as lost, as told"),
    "no-opening": ("changed", "the seller speaks first: kept, after an opening without words"),
    "unanswered": ("changed", "the seller has the last word: kept, with a reply without words"),
}
"""Everything that may happen to a conversation or a message on its way in."""

_EXAMPLES = 3
_SHOWN = 60


@dataclass(frozen=True, slots=True)
class Finding:
    """How often something happened, and where at first."""

    reason: str
    kind: Kind
    meaning: str
    count: int
    examples: tuple[str, ...]


class Findings:
    """Collects what happened; equal places are different events."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._examples: dict[str, list[str]] = {}

    def add(self, reason: str, place: str, detail: str = "") -> None:
        """Count an event of ``REASONS`` and keep it as an example if it is among the first."""
        self._counts[reason] += 1
        examples = self._examples.setdefault(reason, [])
        if len(examples) < _EXAMPLES:
            shown = " ".join(detail.split())
            shown = f"{shown[:_SHOWN]}..." if len(shown) > _SHOWN else shown
            examples.append(f"{place}: {shown}" if shown else place)

    def list(self) -> tuple[Finding, ...]:
        """Return what happened at least once, in the order of ``REASONS``."""
        return tuple(
            Finding(reason, kind, meaning, self._counts[reason], tuple(self._examples[reason]))
            for reason, (kind, meaning) in REASONS.items()
            if self._counts[reason]
        )
