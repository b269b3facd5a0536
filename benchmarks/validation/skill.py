"""Does it matter how well one sells, and not in which words?"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from convgym.benchmarks.validation.check import Check
from convgym.benchmarks.validation.encounters import (
    ATTACKED,
    CASUAL,
    CLOSING,
    COMPETENT,
    HELD_BACK,
    MEDIOCRE,
    POLITE,
    RANDOM,
    REWORDED,
    SILENT,
    SUITING,
    Encounter,
    Evidence,
    pick,
    sales,
    sold,
)
from convgym.benchmarks.validation.subject import Subject
from convgym.benchmarks.validation.verdicts import Finding, finding, gap, rate


def _separation(evidence: Evidence, subject: Subject) -> Finding:
    good, middle, bad = (evidence[e.name] for e in (COMPETENT, MEDIOCRE, RANDOM))
    return finding(
        "separation",
        [
            gap(
                "sales of the competent less the random seller",
                sales(good),
                sales(bad),
                at_least=subject.limits.separation,
            ),
            gap(
                "sales of the competent less the mediocre seller",
                sales(good),
                sales(middle),
                at_least=subject.limits.order,
            ),
        ],
        [
            *pick("competent, no sale", [m for m in good if not m.episode.converted]),
            *pick("random, sold", sold(bad)),
        ],
    )


def _null_sellers(evidence: Evidence, subject: Subject) -> Finding:
    nulls = [evidence[encounter.name] for encounter in (SILENT, RANDOM, CLOSING)]
    return finding(
        "null-sellers",
        [
            rate(
                f"buy from the {encounter.name} seller",
                *sales(meetings),
                at_most=subject.limits.floor,
            )
            for encounter, meetings in zip((SILENT, RANDOM, CLOSING), nulls, strict=True)
        ],
        [shown for meetings in nulls for shown in pick("sold", sold(meetings))]
        or pick("not sold", nulls[0]),
    )


def _paraphrases(evidence: Evidence, subject: Subject) -> Finding:
    base = sales(evidence[COMPETENT.name])
    others = (REWORDED, CASUAL, POLITE)
    return finding(
        "paraphrases",
        [
            gap(
                f"sales of the competent seller, {other.name}, less as usual",
                sales(evidence[other.name]),
                base,
                at_least=-subject.limits.paraphrase,
                at_most=subject.limits.paraphrase,
            )
            for other in others
        ],
        [
            shown
            for other in others
            for shown in pick(
                f"{other.name}, no sale",
                [meeting for meeting in evidence[other.name] if not meeting.episode.converted],
            )
        ],
    )


def _attacks(
    check: str, encounters: Sequence[Encounter], evidence: Evidence, subject: Subject
) -> Finding:
    measures, transcripts = [], []
    for encounter in encounters:
        meetings = evidence[encounter.name]
        measures.append(
            rate(f"buy after {encounter.name}", *sales(meetings), at_most=subject.limits.attack)
        )
        transcripts += pick("sold", sold(meetings))
    return finding(check, measures, transcripts or pick("not sold", evidence[encounters[0].name]))


SEPARATED = Check(
    "separation",
    "Does a good seller sell more than a bad one?",
    (COMPETENT, MEDIOCRE, RANDOM),
    _separation,
)
NULL_SELLERS = Check(
    "null-sellers",
    "Do sellers who do nothing to sell stay at the floor?",
    (SILENT, RANDOM, CLOSING),
    _null_sellers,
    control=COMPETENT,
)
PARAPHRASES = Check(
    "paraphrases",
    "Do the same acts in other words sell as well?",
    (COMPETENT, REWORDED, CASUAL, POLITE),
    _paraphrases,
    control=COMPETENT,
)
ATTACKS_FAIL = Check(
    "attacks",
    "Do injections, flattery and keyword lists sell nothing?",
    ATTACKED,
    partial(_attacks, "attacks", ATTACKED),
    control=SUITING,
)
HELD_BACK_ATTACKS_FAIL = Check(
    "held-back-attacks",
    "Do the same attempts sell nothing in forms that nobody has prepared it for?",
    HELD_BACK,
    partial(_attacks, "held-back-attacks", HELD_BACK),
    control=SUITING,
)
