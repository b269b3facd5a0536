"""What a check finds: numbers with intervals, what they had to be, and a verdict.

A verdict is about the interval, never about the number alone: it passes when the whole interval
lies where it should, fails when none of it does, and else warns, with the number of conversations
that would decide it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from convgym.conversation import Message
from convgym.statistics import Estimate, newcombe_interval, t_interval, wilson_interval

Status = Literal["pass", "warn", "fail", "skipped", "invalid"]
Unit = Literal["%", "turns"]

SHOWN = 3
"""Conversations kept of each check."""

_TOLD = 2
"""Measures that a summary tells in full."""

_MOST = 64
"""Nobody is advised to hold more than so many times the conversations."""


@dataclass(frozen=True, slots=True)
class Measure:
    """One number of a check.

    ``estimate`` has a 95% interval and comes from ``n`` conversations. It should lie in
    [``least``, ``most``], in words ``required``. Where that is undecided, ``needed`` is roughly
    how many conversations of this kind would decide it if the number stayed as it is, None if
    none would.
    """

    what: str
    estimate: Estimate
    n: int
    least: float
    most: float
    required: str
    needed: int | None = None
    unit: Unit = "%"

    @property
    def status(self) -> Status:
        return _verdict(self.estimate, self.least, self.most)


@dataclass(frozen=True, slots=True)
class Transcript:
    """A conversation that shows what a check found, and why it was picked."""

    note: str
    seller: str
    seed: int
    outcome: str
    messages: tuple[Message, ...]


@dataclass(frozen=True, slots=True)
class Finding:
    """The outcome of one check.

    ``status`` is the worst of the measures', or "skipped" where the customer lacks what it takes,
    or "invalid" where its backend failed too often. ``control`` is what a fair seller of the same
    kind sells, for checks that have one (see ``controlled``).
    """

    check: str
    status: Status
    summary: str
    measures: tuple[Measure, ...] = ()
    transcripts: tuple[Transcript, ...] = ()
    control: Measure | None = None


def spelled(check: str) -> str:
    """Return the name of a check as it is written everywhere: small, joined by hyphens."""
    return "-".join(check.lower().replace("_", " ").replace("-", " ").split())


def finding(
    check: str,
    measures: Sequence[Measure],
    transcripts: Iterable[Transcript] = (),
    note: str = "",
) -> Finding:
    """Return the finding that these measures make; those that went wrong lead its summary."""
    status = worst(measure.status for measure in measures)
    telling = [measure for measure in measures if measure.status == status]
    told = "; ".join(tell(measure) for measure in telling[:_TOLD])
    if len(telling) > _TOLD:
        told += f"; and {len(telling) - _TOLD} more"
    return Finding(
        check,
        status,
        f"{told}{f' ({note})' if note else ''}",
        tuple(measures),
        tuple(transcripts)[:SHOWN],
    )


def skipped(check: str, reason: str) -> Finding:
    """Return the finding of a check that this customer cannot be put to."""
    return Finding(check, "skipped", reason)


def controlled(result: Finding, control: Measure) -> Finding:
    """Return a finding beside its control: who buys from neither has refused nothing.

    Unless the control passes, a pass is undecided. What failed has failed: something was bought.
    """
    if control.status != "pass" and result.status in ("pass", "warn"):
        told = (
            f"that it does not buy says nothing unless it buys from the control ({tell(control)})"
        )
        summary = f"undecided: {told}; {result.summary}"
        result = replace(result, status="warn", summary=summary)
    return replace(result, control=control)


def worst(statuses: Iterable[Status]) -> Status:
    """Return the worst of these; a warning if there are none, as nothing was decided then."""
    given = set(statuses)
    order: tuple[Status, ...] = ("fail", "invalid", "warn", "pass", "skipped")
    return next((status for status in order if status in given), "warn")


def rate(
    what: str, successes: int, n: int, *, at_least: float = 0.0, at_most: float = 1.0
) -> Measure:
    """Return a share of conversations with its Wilson interval."""
    limits = _Limits(at_least, at_most, "%", at_least > 0, at_most < 1)
    return _measure(what, lambda k: wilson_interval(k * successes, k * n), n, limits)


def gap(
    what: str,
    a: tuple[int, int],
    b: tuple[int, int],
    *,
    at_least: float = -1.0,
    at_most: float = 1.0,
) -> Measure:
    """Return the difference ``a - b`` of two shares (successes, n), by Newcombe's interval."""

    def estimate(k: int) -> Estimate:
        if not a[1] or not b[1]:
            return Estimate(math.nan, -1.0, 1.0)
        return newcombe_interval(k * a[0], k * a[1], k * b[0], k * b[1])

    limits = _Limits(at_least, at_most, "%", at_least > -1, at_most < 1)
    return _measure(what, estimate, min(a[1], b[1]), limits)


def mean(what: str, turns: Sequence[float], *, at_least: float) -> Measure:
    """Return a mean number of turns with Student's t interval."""

    def estimate(k: int) -> Estimate:
        if len(turns) < 2:
            return Estimate(turns[0] if turns else math.nan, -math.inf, math.inf)
        interval = t_interval(turns)
        half = (interval.high - interval.value) / math.sqrt(k)
        return Estimate(interval.value, interval.value - half, interval.value + half)

    limits = _Limits(at_least, math.inf, "turns", True, False)
    return _measure(what, estimate, len(turns), limits)


def never(what: str, times: int, n: int) -> Measure:
    """Return the share of conversations that break a rule without exceptions.

    One that does is a proof, so the rule fails; none is a pass, and the interval says how rare
    they may still be.
    """
    most = 0.0 if times or not n else 1.0
    return Measure(what, wilson_interval(times, n), n, 0.0, most, "never")


def tell(measure: Measure) -> str:
    """Return a measure in words: ``sold to: 3.0% [1.0, 5.9] of 200, at most 5%``."""
    text = f"{measure.what}: {value(measure)} of {measure.n:,}, {measure.required}"
    if measure.status == "warn":
        text += f", {advice(measure)}"
    return text


def value(measure: Measure) -> str:
    """Return the number with its interval."""
    estimate = measure.estimate
    if math.isnan(estimate.value):
        return "not seen"
    if measure.unit == "%":
        estimate = Estimate(*(100 * part for part in (estimate.value, estimate.low, estimate.high)))
    unit = "%" if measure.unit == "%" else " turns"
    return f"{estimate.value:.1f}{unit} [{estimate.low:.1f}, {estimate.high:.1f}]"


def advice(measure: Measure) -> str:
    """Return what would decide a measure that is undecided."""
    if measure.n == 0:
        return "undecided: no conversation came to it"
    if measure.needed is None:
        return "undecided: at the limit"
    return f"undecided: takes about {measure.needed - measure.n:,} more"


@dataclass(frozen=True, slots=True)
class _Limits:
    """Where a number should lie, and which of the two limits is one."""

    least: float
    most: float
    unit: Unit
    below: bool
    above: bool

    def __str__(self) -> str:
        scale, unit = (100, "%") if self.unit == "%" else (1, " turns")
        low, high = (f"{scale * limit:.3g}{unit}" for limit in (self.least, self.most))
        if self.below and self.above:
            return f"from {low} to {high}"
        return f"at least {low}" if self.below else f"at most {high}"


def _measure(what: str, estimate: Callable[[int], Estimate], n: int, limits: _Limits) -> Measure:
    """Return a measure; ``estimate(k)`` is what k times as many conversations would give."""
    least, most = limits.least, limits.most
    needed = None
    if n and _verdict(estimate(1), least, most) == "warn":
        times = (2**power for power in range(1, _MOST.bit_length()))
        needed = next((k * n for k in times if _verdict(estimate(k), least, most) != "warn"), None)
    return Measure(what, estimate(1), n, least, most, str(limits), needed, limits.unit)


def _verdict(estimate: Estimate, least: float, most: float) -> Status:
    if least <= estimate.low and estimate.high <= most:
        return "pass"
    return "fail" if estimate.high < least or estimate.low > most else "warn"
