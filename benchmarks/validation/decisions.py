"""Does the customer decide as its hidden state says, and as a price should make it?"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

from convgym.benchmarks.validation import words
from convgym.benchmarks.validation.check import Check
from convgym.benchmarks.validation.encounters import (
    COMPETENT,
    OFFHAND,
    PRICE_LADDER,
    PRICE_RATIOS,
    SUITING,
    TOO_DEAR,
    Evidence,
    Meeting,
    pick,
    price_step,
    sales,
    sold,
)
from convgym.benchmarks.validation.offers import too_dear_for
from convgym.benchmarks.validation.subject import Subject
from convgym.benchmarks.validation.verdicts import Finding, finding, gap, rate, skipped

BINS = (0.0, 0.1, 0.5, 0.9, 1.0)
"""Predicted probabilities of buying are judged in these ranges: no, rather no, rather yes, yes. A
customer that decides by a threshold in place of the odds fails the middle ones."""


class Asked(NamedTuple):
    """A customer's first plain request to buy: predicted probability, and what it did."""

    predicted: float
    bought: bool
    meeting: Meeting


def first_asked(meetings: Sequence[Meeting]) -> list[Asked]:
    """Return every customer's first plain request to buy at a known utility."""
    asked = []
    for meeting in meetings:
        turn = next((i for i, said in enumerate(meeting.said) if said in words.CLOSES), None)
        utility = None if turn is None else utility_of(meeting.latents[turn])
        if turn is not None and utility is not None:
            bought = meeting.episode.converted and turn == len(meeting.said) - 1
            asked.append(Asked(_sigmoid(utility), bought, meeting))
    return asked


def utility_of(latent: Mapping[str, Any]) -> float | None:
    """Return the log-odds of buying that a hidden state tells, None if it tells none."""
    utility = latent.get("utility")
    return float(utility) if isinstance(utility, (int, float)) else None


def _sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x)) if x >= 0 else math.exp(x) / (1 + math.exp(x))


def _calibration(evidence: Evidence, subject: Subject) -> Finding:
    asked = first_asked(evidence[OFFHAND.name])
    if not asked:
        return skipped("calibration", "the customer's latent state shows no utility")
    measures, transcripts = [], []
    for low, high in pairwise(BINS):
        there = [
            offer
            for offer in asked
            if low <= offer.predicted < high or offer.predicted == high == 1
        ]
        if not there:
            continue
        predicted = sum(offer.predicted for offer in there) / len(there)
        measure = rate(
            f"buy where {predicted:.0%} were predicted",
            sum(offer.bought for offer in there),
            len(there),
            at_least=max(0.0, predicted - subject.limits.calibration),
            at_most=min(1.0, predicted + subject.limits.calibration),
        )
        measures.append(measure)
        if measure.status != "pass":
            bought = measure.estimate.value > predicted
            note = "bought" if bought else "refused"
            odd = [offer.meeting for offer in there if offer.bought == bought]
            transcripts += pick(f"{note} at a predicted {predicted:.0%}", odd)
    shown = transcripts or pick("one that was asked", [asked[0].meeting])
    return finding("calibration", measures, shown)


def _price(evidence: Evidence, subject: Subject) -> Finding:
    if any(step.name not in evidence for step in PRICE_LADDER):
        return _price_by_words(evidence, subject)
    steps = [
        (ratio, evidence[price_step(ratio)], sales(evidence[price_step(ratio)]))
        for ratio in PRICE_RATIOS
    ]
    measures = [
        gap(
            f"sales at {dearer:g} less those at {cheaper:g} x budget",
            b,
            a,
            at_most=subject.limits.rise,
        )
        for (cheaper, _, a), (dearer, _, b) in pairwise(steps)
    ]
    first, last = steps[0], steps[-1]
    fall = f"sales at {first[0]:g} less those at {last[0]:g} x budget"
    measures.append(gap(fall, first[2], last[2], at_least=subject.limits.fall))
    shown = sold(last[1]) or last[1]
    return finding("price", measures, pick(f"at {last[0]:g} x budget", shown))


def _price_by_words(evidence: Evidence, subject: Subject) -> Finding:
    """Compare offers within the budget that was told with those far above it."""
    dear = too_dear_for(evidence[TOO_DEAR.name], subject.catalog)
    measure = gap(
        "sales within the budget told less those far above it",
        sales(evidence[COMPETENT.name]),
        sales(dear),
        at_least=subject.limits.fall,
    )
    shown = sold(dear) or dear
    note = "its profile cannot be set: judged by the budgets that it tells"
    return finding("price", [measure], pick("far above the budget", shown), note)


CALIBRATED = Check(
    "calibration",
    "Does it buy as often as its hidden utility says?",
    (OFFHAND,),
    _calibration,
)
PRICE = Check(
    "price",
    "Do sales fall as the price rises over the budget, all else equal?",
    (*PRICE_LADDER, COMPETENT, TOO_DEAR),
    _price,
    control=SUITING,
)
