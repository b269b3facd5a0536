"""What is asked of a Q, and what it answers; nothing here loads torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias, get_args

from convgym.conversation import Message
from convgym.errors import ConvgymError

Kind: TypeAlias = Literal["q", "advantage"]
"""Which number is the score: Q(s, a), or A(s, a) = Q(s, a) - V(s)."""
KINDS: tuple[Kind, ...] = get_args(Kind)


@dataclass(frozen=True, slots=True)
class Pair:
    """A state and a response as token ids, read up to what Q has room for."""

    prompt: tuple[int, ...]
    response: tuple[int, ...]
    cut: bool = False
    """Whether the response was longer."""


@dataclass(frozen=True, slots=True)
class Score:
    """What Q says of a pair."""

    q: float
    """Q(s, a): the probability of a purchase in this conversation if the seller says this now."""
    value: float
    """V(s): the same before anything is said."""
    cut: bool = False
    """Whether the end of the response was not read."""

    @property
    def advantage(self) -> float:
        """A(s, a) = Q(s, a) - V(s)."""
        return self.q - self.value

    def of(self, kind: Kind) -> float:
        """Return the number that is asked for."""
        return self.q if kind == "q" else self.advantage


class Scorer(Protocol):
    """A reward model of what a seller says."""

    def read(self, state: Sequence[Message], response: str) -> Pair:
        """Return a conversation in which it is the seller's turn, and a response, as tokens."""

    def score(self, pairs: Sequence[Pair]) -> list[Score]:
        """Return a score for each pair; it does not depend on which others are asked beside it."""


def check_kind(kind: str) -> Kind:
    """Return a kind of score; ConvgymError for anything else."""
    for known in KINDS:
        if kind == known:
            return known
    raise ConvgymError(f"score must be {' or '.join(KINDS)}, got {kind!r}")
