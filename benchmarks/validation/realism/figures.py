"""A figure of realism: a number with its interval, where it comes from, and what stands beside it.

Three things may stand beside a figure:

- a **range**, where a customer contradicts itself outside it, whoever it imitates;
- a **reference**, the same figure of people's chats, or of the customer that is imitated;
- the **distance** from there, with an interval.

What cannot be measured is a figure too, with the reason in place of a number. It is never passed.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from convgym.statistics import Estimate, difference

Unit = Literal["%", "words", "turns", "stages", ""]
ABOVE, BELOW = 1e-9, -1e-9
"""The limits of a figure that is to be more than 0, or less, by however little."""

Verdict = Literal["holds", "undecided", "breaks", "described", "not measured"]


@dataclass(frozen=True, slots=True)
class Figure:
    """One number of a report.

    Args:
        name: what it is.
        estimate: the number with its 95% interval, None where it was not measured.
        n: how many it comes from.
        of: what these are: conversations, replies, pairs.
        unit: shares are stored as shares and shown as percent.
        least: below this the customer is not consistent with itself; None for no such limit.
        most: above this likewise.
        reference: the same of the reference, or of the original.
        reference_n: how many that comes from.
        distance: this number less the reference's.
        why: why it was not measured, or what is to be known of it.
    """

    name: str
    estimate: Estimate | None
    n: int
    of: str
    unit: Unit = "%"
    least: float | None = None
    most: float | None = None
    reference: Estimate | None = None
    reference_n: int = 0
    distance: Estimate | None = None
    why: str = ""

    @property
    def verdict(self) -> Verdict:
        """Whether the figure lies in its range; the interval decides, not the number."""
        if self.estimate is None or math.isnan(self.estimate.value):
            return "not measured"
        if self.least is None and self.most is None:
            return "described"
        least = -math.inf if self.least is None else self.least
        most = math.inf if self.most is None else self.most
        if least <= self.estimate.low and self.estimate.high <= most:
            return "holds"
        return "breaks" if self.estimate.high < least or self.estimate.low > most else "undecided"

    @property
    def differs(self) -> bool | None:
        """Whether it differs from the reference by more than chance; None without a distance."""
        if self.distance is None or math.isnan(self.distance.value):
            return None
        return not self.distance.low <= 0 <= self.distance.high


@dataclass(frozen=True, slots=True)
class Section:
    """Figures that answer one question."""

    name: str
    question: str
    source: str
    figures: tuple[Figure, ...]
    note: str = ""


def figure(
    name: str,
    estimate: Estimate,
    n: int,
    of: str,
    unit: Unit = "%",
    *,
    least: float | None = None,
    most: float | None = None,
    why: str = "",
) -> Figure:
    """Return a figure, or one that was not measured if ``n`` is 0."""
    if n == 0 or math.isnan(estimate.value):
        return not_measured(name, why or f"there were no such {of}")
    return Figure(name, estimate, n, of, unit, least, most, why=why)


def not_measured(name: str, why: str) -> Figure:
    """Return the figure of what cannot be measured, with the reason."""
    return Figure(name, None, 0, "", why=why)


def beside(own: Figure, other: Figure | None) -> Figure:
    """Return a figure with the same one of independent conversations beside it, and the distance.

    The distance's interval is made of the two intervals (``convgym.statistics.difference``).
    """
    if other is None:
        return own
    if own.estimate is None:
        return replace(own, reference=other.estimate, reference_n=other.n)
    if other.estimate is None:
        return replace(own, why="; ".join(filter(None, [own.why, f"reference: {other.why}"])))
    return replace(
        own,
        reference=other.estimate,
        reference_n=other.n,
        distance=difference(own.estimate, other.estimate),
    )


def all_beside(own: Sequence[Figure], other: Sequence[Figure] | None) -> tuple[Figure, ...]:
    """Return figures, each with the one of the same name beside it."""
    named = {each.name: each for each in other or ()}
    return tuple(beside(each, named.get(each.name)) for each in own)


def shown(estimate: Estimate | None, unit: Unit, *, signed: bool = False) -> str:
    """Return a number with its interval, ``12.3% [10.1, 15.0]``, or nothing."""
    if estimate is None or math.isnan(estimate.value):
        return ""
    scale = 100 if unit == "%" else 1
    sign, digits = ("+" if signed else ""), {"%": 1, "": 3}.get(unit, 2)
    ends = ", ".join(
        "?" if math.isinf(end) else f"{scale * end:{sign}.{digits}f}"
        for end in (estimate.low, estimate.high)
    )
    of = "%" if unit == "%" and not signed else ""
    return f"{scale * estimate.value:{sign}.{digits}f}{of} [{ends}]"


def required(each: Figure) -> str:
    """Return in words the range that a figure should lie in, or nothing."""
    scale = 100 if each.unit == "%" else 1
    unit = "%" if each.unit == "%" else ""
    low, high = (
        None if end is None else f"{scale * end:.3g}{unit}" for end in (each.least, each.most)
    )
    if each.least == ABOVE or each.most == BELOW:
        return "above 0" if each.least == ABOVE else "below 0"
    if low is not None and high is not None:
        return f"from {low} to {high}"
    return f"at least {low}" if low is not None else f"at most {high}" if high is not None else ""


def figures_of(sections: Iterable[Section]) -> list[Figure]:
    """Return the figures of all sections."""
    return [each for section in sections for each in section.figures]
