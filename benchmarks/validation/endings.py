"""Do conversations end when they should: not at once, and not never?"""

from __future__ import annotations

from convgym.benchmarks.validation.check import Check
from convgym.benchmarks.validation.encounters import (
    CHATTER,
    COMPETENT,
    INTERROGATION,
    SILENT,
    Evidence,
    pick,
    sold,
)
from convgym.benchmarks.validation.subject import Subject
from convgym.benchmarks.validation.verdicts import Finding, finding, rate


def _endings(evidence: Evidence, subject: Subject) -> Finding:
    asked = evidence[COMPETENT.name]
    premature = [meeting for meeting in asked if len(meeting.episode.turns) == 1]
    unoffered = [
        meeting
        for encounter in (CHATTER, INTERROGATION, SILENT)
        for meeting in evidence[encounter.name]
    ]
    bought = sold(unoffered)
    idle = evidence[CHATTER.name]
    endless = [meeting for meeting in idle if meeting.episode.outcome == "turn_limit"]
    limit = f"listen to {subject.max_turns} turns of small talk"
    return finding(
        "endings",
        [
            rate(
                "end at the first question",
                len(premature),
                len(asked),
                at_most=subject.limits.premature,
            ),
            rate(
                "buy before any offer",
                len(bought),
                len(unoffered),
                at_most=subject.limits.nothing_offered,
            ),
            rate(limit, len(endless), len(idle), at_most=subject.limits.endless),
        ],
        [
            *pick("ended at the first question", premature),
            *pick("bought before any offer", bought),
            *(pick("never ended", endless) or pick("ended", idle)),
        ],
    )


ENDINGS = Check(
    "endings",
    "Does it neither end at once, nor buy nothing, nor go on for ever?",
    (COMPETENT, CHATTER, INTERROGATION, SILENT),
    _endings,
    control=COMPETENT,
)
