"""Report a run from its stored files alone: a table, a picture and a page."""

from __future__ import annotations

import math
from collections.abc import Sequence

from convgym.benchmarks.runs.result import MAX_EXCLUDED_SHARE
from convgym.benchmarks.runs.scores import Score
from convgym.statistics import Estimate

HEADINGS = (
    "seller",
    "conversion % [95% CI]",
    "gain over start",
    "accepted %",
    "conversations",
    "deployments",
    "turns",
    "seconds",
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
        percent(score.acceptance) if score.acceptance else "",
        number(score.conversations) if score.kind == "agent" else "",
        number(score.deployments) if score.kind == "agent" else "",
        number(score.turns, 1),
        number(score.seconds, 1 if score.seconds < 10 else 0),
        number(score.excluded) if score.excluded else "",
    )


def columns(found: Sequence[Score]) -> tuple[list[str], list[list[str]]]:
    """Return headings and rows of the table, without the columns in which nothing stands."""
    rows = [cells(score) for score in found]
    kept = [i for i in range(len(HEADINGS)) if any(row[i] for row in rows)]
    return [HEADINGS[i] for i in kept], [[row[i] for i in kept] for row in rows]


def percent(estimate: Estimate, sign: str = "") -> str:
    """Return a fraction as percent with its interval, ``86.5 [84.9, 87.9]``."""
    value, low, high = (100 * part for part in (estimate.value, estimate.low, estimate.high))
    return f"{value:{sign}.1f} [{low:{sign}.1f}, {high:{sign}.1f}]"


def number(value: float, digits: int = 0) -> str:
    """Return a number with thousands separated, or nothing for nan."""
    return "" if math.isnan(value) else f"{value:,.{digits}f}"


def notes(found: Sequence[Score], episodes: int) -> list[str]:
    """Return the sentences that the numbers of a table need to be read rightly."""
    seeds = max((score.seeds for score in found), default=1)
    text = [f"Everybody was judged on the same {episodes:,} customers, never met in training."]
    if all(score.kind == "seller" for score in found):
        text.append("Intervals cover new customers.")
    elif seeds > 1:
        text.append(
            "Intervals of agents cover a new training seed and new customers; those of sellers"
            " cover new customers."
        )
    else:
        text.append("Intervals cover new customers, not another training seed.")
    if any(score.acceptance for score in found):
        text.append(
            "Everybody's words were suggestions to a business; accepted are those that it sent"
            " verbatim or edited."
        )
    excluded = sum(score.excluded for score in found)
    if excluded:
        text.append(
            f"{excluded:,} conversations failed: the customer broke off. They count neither as a"
            " sale nor as a loss."
        )
    invalid = [score.name for score in found if score.invalid_seeds]
    if invalid:
        text.append(
            f"Runs in which more than {MAX_EXCLUDED_SHARE:.0%} of the conversations of training or"
            f" of evaluation failed are invalid and left out: {', '.join(dict.fromkeys(invalid))}."
        )
    return text
