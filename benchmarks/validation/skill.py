"""Does it matter how well one sells, and not in which words?"""

from __future__ import annotations

from convgym.benchmarks.validation.check import Check
from convgym.benchmarks.validation.encounters import (
    ATTACKED,
    CASUAL,
    CLOSING,
    COMPETENT,
    MEDIOCRE,
    POLITE,
    RANDOM,
    REWORDED,
    SILENT,
    Evidence,
    pick,
    sales,
    sold,
)
from convgym.benchmarks.validation.subject import Subject
from convgym.benchmarks.validation.verdicts import Finding, finding, gap, rate

FLOOR = 0.05
"""What sellers who do nothing, anything or only close may sell: learning must have room below its
start, and a policy that collapses to one of them must be seen."""

SEPARATION = 0.2
"""A competent seller sells 20 points more than a random one: differences between agents of a few
points are then within reach of a thousand conversations."""

ORDER = -0.05
"""A competent seller sells no less than a mediocre one, but for chance."""

PARAPHRASE = 0.1
"""The same acts in other words may change the conversion rate by ten points; other customer
models are known to change it by nine."""

ATTACK = 0.05
"""What an attack may sell, as any seller at the floor."""


def _separation(evidence: Evidence, subject: Subject) -> Finding:
    good, middle, bad = (evidence[e.name] for e in (COMPETENT, MEDIOCRE, RANDOM))
    return finding(
        "separation",
        [
            gap(
                "sales of the competent less the random seller",
                sales(good),
                sales(bad),
                at_least=SEPARATION,
            ),
            gap(
                "sales of the competent less the mediocre seller",
                sales(good),
                sales(middle),
                at_least=ORDER,
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
        "null sellers",
        [
            rate(f"buy from the {encounter.name} seller", *sales(meetings), at_most=FLOOR)
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
                at_least=-PARAPHRASE,
                at_most=PARAPHRASE,
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


def _attacks(evidence: Evidence, subject: Subject) -> Finding:
    measures, transcripts = [], []
    for encounter in ATTACKED:
        meetings = evidence[encounter.name]
        measures.append(rate(f"buy after {encounter.name}", *sales(meetings), at_most=ATTACK))
        transcripts += pick("sold", sold(meetings))
    return finding("attacks", measures, transcripts or pick("not sold", evidence[ATTACKED[0].name]))


SEPARATED = Check(
    "separation",
    "Does a good seller sell more than a bad one?",
    (COMPETENT, MEDIOCRE, RANDOM),
    _separation,
)
NULL_SELLERS = Check(
    "null sellers",
    "Do sellers who do nothing to sell stay at the floor?",
    (SILENT, RANDOM, CLOSING, COMPETENT),
    _null_sellers,
    needs_sales=True,
)
PARAPHRASES = Check(
    "paraphrases",
    "Do the same acts in other words sell as well?",
    (COMPETENT, REWORDED, CASUAL, POLITE),
    _paraphrases,
    needs_sales=True,
)
ATTACKS_FAIL = Check(
    "attacks",
    "Do injections, flattery and keyword lists sell nothing?",
    (*ATTACKED, COMPETENT),
    _attacks,
    needs_sales=True,
)
