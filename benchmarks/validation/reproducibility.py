"""Is a customer its seed's alone, and is a copy of it a copy?"""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from typing import NamedTuple, cast

from convgym.benchmarks.validation import words
from convgym.benchmarks.validation.check import Check
from convgym.benchmarks.validation.encounters import AGAIN, COMPETENT, Evidence, Meeting, pick
from convgym.benchmarks.validation.subject import Subject
from convgym.benchmarks.validation.verdicts import (
    Finding,
    Transcript,
    finding,
    never,
    rate,
    skipped,
)
from convgym.conversation import Message
from convgym.customers import Customer, Decision, Snapshottable
from convgym.customers.concurrently import close_now, reset_now, respond_now
from convgym.sellers.knowledge import Act, SellerKnowledge

COPIED = 20
"""Customers that are copied at most: a copy that is none shows at the first."""

BEFORE, AFTER = 2, 3
"""Turns before the copy is made and after."""

_PLAYS = 4
"""Times that the turns after the copy are played, at most a conversation each."""


def _determinism(evidence: Evidence, subject: Subject) -> Finding:
    first = {meeting.episode.seed: meeting for meeting in evidence[COMPETENT.name]}
    pairs = [
        (first[meeting.episode.seed], meeting)
        for meeting in evidence[AGAIN.name]
        if meeting.episode.seed in first
    ]
    differing = [(a, b) for a, b in pairs if _spoken(a) != _spoken(b)]
    openings = [meeting.episode.messages(1) for meeting in first.values()]
    same = sum(messages == openings[0] for messages in openings[1:])
    measures = [never("differ when met again", len(differing), len(pairs))]
    if len(openings) > 1:
        measures.append(
            rate(
                "begin as the first one did", same, len(openings) - 1, at_most=subject.limits.alike
            )
        )
    return finding(
        "determinism",
        measures,
        [
            *(shown for a, b in differing[:1] for shown in pick("met first", [a])),
            *(shown for a, b in differing[:1] for shown in pick("met again", [b])),
        ]
        or pick("the same both times", [a for a, _ in pairs]),
    )


def _spoken(meeting: Meeting) -> tuple[list[Message], str]:
    return meeting.episode.messages(), meeting.episode.outcome


class Heard(NamedTuple):
    """An answer and the hidden state after it."""

    text: str
    decision: Decision
    latent: str


def _snapshots(evidence: Evidence, subject: Subject) -> Finding:
    if not subject.can_be_copied:
        return skipped("snapshots", "the customer has no snapshot and restore")
    lines = _lines(SellerKnowledge(subject.catalog))
    original, other = (cast(Snapshottable, subject.make()) for _ in range(2))
    n, differing, unseeded = 0, list[Transcript](), 0
    for seed in subject.seeds[:COPIED]:
        opening = reset_now(original, seed)
        if any(heard.decision != "continue" for heard in _play(original, lines[:BEFORE])):
            continue
        n += 1
        state = original.snapshot()
        carried = pickle.loads(pickle.dumps(state))
        expected = _play(original, lines[BEFORE:])
        original.restore(state)
        again = _play(original, lines[BEFORE:])
        reset_now(other, seed + 1)
        other.restore(carried)
        elsewhere = _play(other, lines[BEFORE:])
        if again != expected or elsewhere != expected:
            for note, heard in (("at first", expected), ("from the copy", again)):
                differing.append(_transcript(note, seed, opening, lines[BEFORE:], heard))
        unseeded += _fresh(original, state, lines) != _fresh(other, carried, lines)
    for customer in (original, other):
        close_now(customer)
    return finding(
        "snapshots",
        [
            never("go on otherwise from a copy", len(differing) // 2, n),
            never("go on otherwise from a copy with a new seed", unseeded, n),
        ],
        differing,
    )


def _lines(shop: SellerKnowledge) -> list[str]:
    import random

    acts = [Act("ask_need"), Act("ask_feature"), Act("ask_budget")]
    acts.append(Act("recommend", shop.catalog.products[0]))
    said = [shop.say((act,), random.Random(0)) for act in acts]
    return [*said, words.CLOSES[0]][: BEFORE + AFTER]


def _play(customer: Customer, lines: Sequence[str]) -> list[Heard]:
    heard: list[Heard] = []
    for line in lines:
        reply = respond_now(customer, line)
        heard.append(Heard(reply.text, reply.decision, repr(customer.latent)))
        if reply.decision != Decision.CONTINUE:
            break
    return heard


def _fresh(customer: Snapshottable, state: object, lines: Sequence[str]) -> list[Heard]:
    customer.restore(state, seed=1)
    return _play(customer, lines[BEFORE:])


def _transcript(
    note: str, seed: int, opening: str, lines: Sequence[str], heard: Sequence[Heard]
) -> Transcript:
    messages: list[Message] = [{"role": "user", "content": opening}]
    for line, answer in zip(lines, heard, strict=False):
        messages.append({"role": "assistant", "content": line})
        messages.append({"role": "user", "content": answer.text})
    return Transcript(note, "fixed lines", seed, str(heard[-1].decision), tuple(messages))


DETERMINISM = Check(
    "determinism",
    "Does the same seed give the same customer, whoever else is met?",
    (COMPETENT, AGAIN),
    _determinism,
)
SNAPSHOTS = Check(
    "snapshots",
    "Does a copy go on exactly as the original?",
    (),
    _snapshots,
    own=lambda subject: _PLAYS * min(COPIED, subject.conversations) if subject.can_be_copied else 0,
)
