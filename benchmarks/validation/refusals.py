"""Does the customer say no, stay with it, and leave when nothing is to be had?"""

from __future__ import annotations

from convgym.benchmarks.validation.check import Check
from convgym.benchmarks.validation.decisions import first_asked
from convgym.benchmarks.validation.encounters import (
    COMPETENT,
    OFFHAND,
    SUITING,
    TOO_DEAR,
    WASTED_TIME,
    WRONG_USE,
    Evidence,
    pick,
    sold,
)
from convgym.benchmarks.validation.offers import of_wrong_use, too_dear_for
from convgym.benchmarks.validation.subject import Subject
from convgym.benchmarks.validation.verdicts import Finding, Measure, finding, mean, rate

LOW_UTILITY = 0.1
"""A predicted probability of buying below this makes a customer one of low utility."""


def _walk_away(evidence: Evidence, subject: Subject) -> Finding:
    hopeless = [
        *too_dear_for(evidence[TOO_DEAR.name], subject.catalog),
        *of_wrong_use(evidence[WRONG_USE.name], subject.catalog),
    ]
    left = [meeting for meeting in hopeless if meeting.episode.outcome == "walk_away"]
    stayed = [meeting for meeting in hopeless if meeting.episode.outcome != "walk_away"]
    measures = [
        rate(
            "leave when pressed to buy what does not suit",
            len(left),
            len(hopeless),
            at_least=subject.limits.leave,
        )
    ]
    shown = pick("did not leave", stayed) or pick("left", left)
    low = [asked for asked in first_asked(evidence[OFFHAND.name]) if asked.predicted < LOW_UTILITY]
    if low:
        drifted = [asked.meeting for asked in low if asked.meeting.episode.converted]
        measures.append(
            rate(
                "of low utility, buy in the end",
                len(drifted),
                len(low),
                at_most=subject.limits.drift,
            )
        )
        shown += pick("of low utility, bought in the end", drifted)
    if all(encounter.name in evidence for encounter in WASTED_TIME):
        measures.append(_patience(evidence, subject))
    return finding("walk-away", measures, shown)


def _patience(evidence: Evidence, subject: Subject) -> Measure:
    impatient, patient = (
        {meeting.episode.seed: len(meeting.episode.turns) for meeting in evidence[encounter.name]}
        for encounter in WASTED_TIME
    )
    saved = [float(patient[seed] - turns) for seed, turns in impatient.items() if seed in patient]
    return mean(
        "turns by which the impatient leave earlier", saved, at_least=subject.limits.shorter
    )


def _deal_breakers(evidence: Evidence, subject: Subject) -> Finding:
    measures, transcripts = [], []
    ruled_out = {
        "buy far above the budget they told": too_dear_for(
            evidence[TOO_DEAR.name], subject.catalog
        ),
        "buy what is not for the need they told": of_wrong_use(
            evidence[WRONG_USE.name], subject.catalog
        ),
        # Only those who say so themselves, in their hidden state.
        "buy though they never do": [
            meeting
            for name in (COMPETENT.name, TOO_DEAR.name, WRONG_USE.name)
            for meeting in evidence[name]
            if meeting.latents[0].get("would_buy") is False
        ],
    }
    for what, meetings in ruled_out.items():
        if not meetings and what == "buy though they never do":
            continue
        bought = sold(meetings)
        measures.append(rate(what, len(bought), len(meetings), at_most=subject.limits.deal_breaker))
        transcripts += pick(what, bought) or pick("held", meetings)
    return finding("deal-breakers", measures, transcripts)


WALK_AWAY = Check(
    "walk-away",
    "Do customers to whom nothing suits leave, and not drift into buying?",
    (TOO_DEAR, WRONG_USE, OFFHAND, *WASTED_TIME),
    _walk_away,
    control=SUITING,
)
DEAL_BREAKERS = Check(
    "deal-breakers",
    "Are the conditions that it states held against a seller who presses?",
    (TOO_DEAR, WRONG_USE, COMPETENT),
    _deal_breakers,
    control=SUITING,
)
