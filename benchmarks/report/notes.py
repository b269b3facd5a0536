"""The sentences that the numbers of a table need to be read rightly."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from convgym.benchmarks.runs.redaction import redacted
from convgym.benchmarks.runs.result import MAX_EXCLUDED_SHARE
from convgym.benchmarks.runs.scores import Score

_LEARNABLE = 256
"""Conversations below which an agent shows that it runs, and nothing of what it learns."""


def notes(
    scores: Sequence[Score],
    episodes: int,
    evaluation: Mapping[str, Any] | None = None,
    missing: Sequence[str] = (),
) -> list[str]:
    """Return what must be said of a run's scores.

    Args:
        scores: of everybody.
        episodes: evaluation conversations of each row.
        evaluation: options of the environment that were others when everybody was judged.
        missing: who has no row yet, or no longer.
    """
    text = []
    if missing:
        text.append(
            f"THIS RUN IS NOT WHOLE: {', '.join(missing)} missing. The same `convgym bench` makes"
            " what is missing."
        )
    text.append(f"Everybody was judged on the same {episodes:,} customers, never met in training.")
    text += _few(scores) + _nobody_sold(scores) + _intervals(scores) + _starts(scores)
    if any(score.acceptance for score in scores):
        text.append(
            "Everybody's words were suggestions to a business; accepted are those that it sent"
            " verbatim or edited."
        )
    if any(score.conduct for score in scores):
        text.append(
            "Conduct is as the customers counted it: false claims, pushes and repetitions per"
            " conversation, discount and margin per sale. Nobody was rewarded for it."
        )
    if any(score.colder for score in scores):
        text.append(
            "Colder is the conversion of the same policies at a lower temperature, that of the"
            " suite's setting colder: what a start gains by it, nobody had to learn."
        )
    text += _failures(scores)
    text += [f"{score.name}: {note}." for score in scores for note in score.notes]
    if evaluation:
        changes = ", ".join(f"{name} {value}" for name, value in redacted(evaluation).items())
        text.append(f"Judged under other conditions than those of training: {changes}.")
    return text


def _nobody_sold(scores: Sequence[Score]) -> list[str]:
    """Say loudly that there was nothing to learn from, where there was not."""
    valid = [score for score in scores if not math.isnan(score.conversion.value)]
    learners = [score for score in valid if score.kind != "seller"]
    if any(score.conversion.value > 0 for score in learners or valid) or not valid:
        return []
    if not learners:
        return [
            "NOBODY SOLD ANYTHING: either no seller here fits this customer and shop, or this"
            " customer never buys."
        ]
    others = any(score.conversion.value > 0 for score in valid)
    hint = "others sell to it" if others else "nor did anybody else; does it ever buy?"
    return [
        "NO AGENT SOLD ANYTHING, before training or after: start and agents do not fit this"
        f" customer or shop ({hint}). Pretrain a start for it, or use a model that can talk to it."
    ]


def _intervals(scores: Sequence[Score]) -> list[str]:
    if all(score.kind == "seller" for score in scores):
        return ["Intervals cover new customers."]
    if max((score.seeds for score in scores), default=1) > 1:
        return [
            "Intervals of agents cover a new training seed and new customers; those of sellers"
            " cover new customers."
        ]
    return ["Intervals cover new customers, not another training seed."]


def _starts(scores: Sequence[Score]) -> list[str]:
    """Say who is compared with which start, where there are several."""
    starts = [score.name for score in scores if score.kind == "start"]
    if len(starts) < 2:
        return []
    followers = {
        start: [score.name for score in scores if score.start == start] for start in starts
    }
    told = "; ".join(f"{start} ({', '.join(agents)})" for start, agents in followers.items())
    return [f"The gain of each agent is over its own start: {told}."]


def _few(scores: Sequence[Score]) -> list[str]:
    held = max((score.conversations for score in scores if score.kind == "agent"), default=0)
    if not 0 < held < _LEARNABLE:
        return []
    return [
        f"Nobody learns from {held:,.0f} conversations: what agents sell here says that all parts"
        " work, and nothing of the agents."
    ]


def _failures(scores: Sequence[Score]) -> list[str]:
    text = []
    excluded = sum(score.excluded for score in scores)
    if excluded:
        text.append(
            f"{excluded:,} conversations failed: the customer broke off. They count neither as a"
            " sale nor as a loss."
        )
    failed = sum(score.seller_failed for score in scores)
    if failed:
        text.append(
            f"{failed:,} conversations ended because the seller's backend failed. They count"
            " neither as a sale nor as a loss; which, and why, stands in the logs under"
            " conversations/ as far as they go."
        )
    invalid = [score.name for score in scores if score.invalid_seeds]
    if invalid:
        text.append(
            f"Runs in which more than {MAX_EXCLUDED_SHARE:.0%} of the conversations of training or"
            f" of evaluation failed are invalid and left out: {', '.join(dict.fromkeys(invalid))}."
        )
    return text
