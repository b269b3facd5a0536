"""The suite: all checks, and how a customer is put to them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from convgym.benchmarks.runs.result import MAX_EXCLUDED_SHARE
from convgym.benchmarks.validation.check import Check
from convgym.benchmarks.validation.decisions import CALIBRATED, PRICE
from convgym.benchmarks.validation.encounters import Encounter, Meeting, hold, sales
from convgym.benchmarks.validation.endings import ENDINGS
from convgym.benchmarks.validation.refusals import DEAL_BREAKERS, WALK_AWAY
from convgym.benchmarks.validation.reproducibility import DETERMINISM, SNAPSHOTS
from convgym.benchmarks.validation.skill import (
    ATTACKS_FAIL,
    HELD_BACK_ATTACKS_FAIL,
    NULL_SELLERS,
    PARAPHRASES,
    SEPARATED,
)
from convgym.benchmarks.validation.speech import DISCLOSURE, LEAKAGE, ROLE, WORDS
from convgym.benchmarks.validation.subject import Subject
from convgym.benchmarks.validation.verdicts import Finding, controlled, rate, spelled
from convgym.errors import unknown
from convgym.progress import Progress, ProgressCallback, no_progress

CHECKS: tuple[Check, ...] = (
    CALIBRATED,
    WALK_AWAY,
    PRICE,
    DEAL_BREAKERS,
    DISCLOSURE,
    LEAKAGE,
    ROLE,
    WORDS,
    ENDINGS,
    ATTACKS_FAIL,
    PARAPHRASES,
    SEPARATED,
    NULL_SELLERS,
    DETERMINISM,
    SNAPSHOTS,
)

ON_REQUEST: tuple[Check, ...] = (HELD_BACK_ATTACKS_FAIL,)
"""Checks that are held back: only who asks for them has them."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What putting a customer to checks takes, known before the first word is said."""

    checks: tuple[Check, ...]
    encounters: tuple[Encounter, ...]
    conversations: int
    replies: int
    """The customer's, openings included, if no conversation ends before the turn limit."""


@dataclass(frozen=True)
class Outcome:
    """What became of it.

    ``meetings`` are those of each encounter, failed ones included; ``failures`` counts the latter.
    """

    findings: tuple[Finding, ...]
    meetings: dict[str, list[Meeting]] = field(default_factory=dict)

    @property
    def replies(self) -> int:
        """How often customers spoke in these meetings, openings included."""
        return sum(
            1 + len(meeting.episode.turns)
            for meetings in self.meetings.values()
            for meeting in meetings
        )

    @property
    def failures(self) -> dict[str, int]:
        counted = Counter(
            {
                name: sum(not meeting.episode.valid for meeting in meetings)
                for name, meetings in self.meetings.items()
            }
        )
        return dict(+counted)

    @property
    def reasons(self) -> list[str]:
        """What the customer's backend said, each reason once."""
        said = (
            str(meeting.episode.metadata.get("failure", "unknown"))
            for meetings in self.meetings.values()
            for meeting in meetings
            if not meeting.episode.valid
        )
        return list(dict.fromkeys(said))


def get_checks(names: Sequence[str] | None = None) -> tuple[Check, ...]:
    """Return the checks of these names, ``CHECKS`` if None; ConvgymError names an unknown one."""
    if names is None:
        return CHECKS
    known = {check.name: check for check in (*CHECKS, *ON_REQUEST)}
    asked = dict.fromkeys(spelled(name) for name in names)
    for name in asked:
        if name not in known:
            raise unknown("check", name, known)
    return tuple(known[name] for name in asked)


def plan(subject: Subject, checks: Sequence[Check] = CHECKS) -> Plan:
    """Return what these checks take: every encounter once, however many checks want it."""
    encounters = {
        encounter.name: encounter
        for check in checks
        for encounter in check.held
        if encounter.profile is None or subject.takes_profile
    }
    own = sum(check.own(subject) for check in checks)
    conversations = len(encounters) * subject.conversations + own
    return Plan(
        tuple(checks),
        tuple(encounters.values()),
        conversations,
        conversations * (subject.max_turns + 1),
    )


def validate(
    subject: Subject,
    checks: Sequence[Check] = CHECKS,
    progress: ProgressCallback = no_progress,
) -> Outcome:
    """Put a customer to checks; ``progress`` is told of each encounter, as a stage of its name.

    Conversations whose customer failed count for nothing; a check that lost more than
    ``MAX_EXCLUDED_SHARE`` of them in one of its encounters is invalid.
    """
    planned = plan(subject, checks)
    meetings: dict[str, list[Meeting]] = {}
    for encounter in planned.encounters:

        def tell(news: Progress, name: str = encounter.name) -> None:
            progress(replace(news, stage=name))

        meetings[encounter.name] = hold(subject, encounter, tell)
    outcome = Outcome((), meetings)
    return replace(outcome, findings=tuple(_judge(check, outcome, subject) for check in checks))


def _judge(check: Check, outcome: Outcome, subject: Subject) -> Finding:
    names = [e.name for e in check.held if e.name in outcome.meetings]
    held = {name: outcome.meetings[name] for name in names}
    valid = {name: [m for m in meetings if m.episode.valid] for name, meetings in held.items()}
    lost = sum(map(len, held.values())) - sum(map(len, valid.values()))
    for name, meetings in held.items():
        broken = len(meetings) - len(valid[name])
        if broken > MAX_EXCLUDED_SHARE * len(meetings):
            told = f"the backend failed in {broken} of {len(meetings)} conversations ({name})"
            return Finding(check.name, "invalid", told)
    result = check.judge(valid, subject)
    if check.control is not None:
        name, least = check.control.name, subject.limits.control
        control = rate(f"buy from the {name} seller", *sales(valid[name]), at_least=least)
        result = controlled(result, control)
    if lost:
        note = f"{lost} conversations in which the backend failed left out"
        result = replace(result, summary=f"{result.summary} ({note})")
    return result
