"""Conduct: what a seller did beside selling, where the customer keeps count of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from convgym.conversation import Episode

COUNTED = ("false_claims", "pushes", "repetitions")
"""What a customer's ``record`` must hold for its conversations to be counted."""


@dataclass(frozen=True)
class Conduct:
    """Of one seller's conversations, as the shopper counts them (``Account`` of ``Sales-v1``).

    ``false_claims``, ``pushes`` and ``repetitions`` are per conversation, ``words`` per turn of
    the seller's. ``discount`` (a share of the price) and ``margin`` (in the shop's currency) are
    per sale, None without one.
    """

    false_claims: float
    pushes: float
    repetitions: float
    words: float
    discount: float | None = None
    margin: float | None = None

    @classmethod
    def of(cls, episodes: Iterable[Episode]) -> Conduct | None:
        """Return the conduct in these conversations, None if no customer kept count."""
        counted = [e for e in episodes if e.valid and set(COUNTED) <= set(e.metadata)]
        if not counted:
            return None
        said = [len(turn.response.text.split()) for e in counted for turn in e.turns]
        sold = [episode.metadata for episode in counted if episode.converted]
        false_claims, pushes, repetitions = (
            fmean(episode.metadata[name] for episode in counted) for name in COUNTED
        )
        return cls(
            false_claims,
            pushes,
            repetitions,
            words=fmean(said) if said else 0.0,
            discount=_mean(record.get("discount") for record in sold),
            margin=_mean(record.get("margin") for record in sold),
        )

    @classmethod
    def mean(cls, conducts: Sequence[Conduct]) -> Conduct | None:
        """Return the mean over training seeds, None of none."""
        if not conducts:
            return None

        def over(value: Callable[[Conduct], float]) -> float:
            return fmean(map(value, conducts))

        return cls(
            over(lambda conduct: conduct.false_claims),
            over(lambda conduct: conduct.pushes),
            over(lambda conduct: conduct.repetitions),
            over(lambda conduct: conduct.words),
            _mean(conduct.discount for conduct in conducts),
            _mean(conduct.margin for conduct in conducts),
        )

    @classmethod
    def from_row(cls, row: Mapping[str, Any] | None) -> Conduct | None:
        """Return what a row of results holds of it; rows of earlier versions hold none."""
        return None if row is None else cls(**row)


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return fmean(known) if known else None
