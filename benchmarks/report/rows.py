"""Scores as the text of a table's cells."""

from __future__ import annotations

import math
from collections.abc import Sequence

from convgym.benchmarks.runs.conduct import Conduct
from convgym.benchmarks.runs.pairs import Pair
from convgym.benchmarks.runs.scores import Score
from convgym.statistics import Estimate

CONDUCT = (
    "words a turn",
    "false claims",
    "pushes",
    "repetitions",
    "discount %",
    "margin a sale",
)
HEADINGS = (
    "seller",
    "conversion % [95% CI]",
    "gain over start",
    "colder % [95% CI]",
    "accepted %",
    "conversations",
    "deployments",
    "training turns",
    "branches",
    "turns",
    *CONDUCT,
    "seconds",
    "CPU seconds",
    "seller failed",
    "failed",
)


def cells(score: Score) -> tuple[str, ...]:
    """Return a score as the texts of one table row, in the order of ``HEADINGS``."""
    conversion = percent(score.conversion)
    if score.seeds == score.invalid_seeds:
        conversion = "invalid"
    name = score.name if score.seeds == 1 else f"{score.name} ({score.seeds} seeds)"
    return (
        name,
        conversion,
        percent(score.gain, sign="+") if score.gain else "",
        percent(score.colder) if score.colder else "",
        percent(score.acceptance) if score.acceptance else "",
        number(score.conversations) if score.kind == "agent" else "",
        number(score.deployments) if score.kind == "agent" else "",
        number(score.training_turns) if score.training_turns else "",
        number(score.branches) if score.branches else "",
        number(score.turns, 1),
        *conduct_cells(score.conduct),
        number(score.seconds, 1 if score.seconds < 10 else 0),
        number(score.cpu_seconds, 1 if score.cpu_seconds < 10 else 0),
        number(score.seller_failed) if score.seller_failed else "",
        number(score.excluded) if score.excluded else "",
    )


def conduct_cells(conduct: Conduct | None) -> tuple[str, ...]:
    """Return a seller's conduct as texts, in the order of ``CONDUCT``; all empty without one."""
    if conduct is None:
        return ("",) * len(CONDUCT)
    return (
        number(conduct.words, 1),
        number(conduct.false_claims, 2),
        number(conduct.pushes, 2),
        number(conduct.repetitions, 2),
        "" if conduct.discount is None else number(100 * conduct.discount, 1),
        "" if conduct.margin is None else number(conduct.margin, 1),
    )


def columns(scores: Sequence[Score]) -> tuple[list[str], list[list[str]]]:
    """Return headings and rows of the table, without the columns in which nothing stands."""
    rows = [cells(score) for score in scores]
    kept = [i for i in range(len(HEADINGS)) if any(row[i] for row in rows)]
    return [HEADINGS[i] for i in kept], [[row[i] for i in kept] for row in rows]


PAIR_HEADINGS = ("more sold by", "than by", "difference % [95% CI]", "p", "p (Holm)", "seeds")


def pair_cells(pair: Pair) -> tuple[str, ...]:
    """Return a comparison as the texts of one table row, in the order of ``PAIR_HEADINGS``."""
    comparison = pair.comparison
    return (
        pair.a,
        pair.b,
        percent(comparison.difference, sign="+"),
        probability(comparison.p_value),
        probability(pair.p_holm),
        " and ".join(map(str, comparison.seeds)),
    )


def probability(value: float) -> str:
    """Return a p-value with two digits that count."""
    return "<0.0001" if value < 1e-4 else f"{value:.2g}"


def percent(estimate: Estimate, sign: str = "") -> str:
    """Return a fraction as percent with its interval, ``86.5 [84.9, 87.9]``."""
    value, low, high = (100 * part for part in (estimate.value, estimate.low, estimate.high))
    return f"{value:{sign}.1f} [{low:{sign}.1f}, {high:{sign}.1f}]"


def number(value: float, digits: int = 0) -> str:
    """Return a number with thousands separated, or nothing for nan."""
    return "" if math.isnan(value) else f"{value:,.{digits}f}"
