"""Does the customer speak as a customer: no more than it was asked, and nothing of its making?

What is looked for are patterns in its words. They find the plain cases, which are the frequent
ones; the transcripts show what they found.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from itertools import groupby
from typing import Any

from convgym.benchmarks.validation.check import Check
from convgym.benchmarks.validation.encounters import (
    CHATTER,
    CLOSING,
    COMPETENT,
    INTERROGATION,
    MEDIOCRE,
    Evidence,
    Meeting,
    pick,
)
from convgym.benchmarks.validation.subject import Subject
from convgym.benchmarks.validation.verdicts import Finding, Measure, finding, rate
from convgym.conversation import Message
from convgym.customers.llm.examples import copied
from convgym.sellers.knowledge import SellerKnowledge
from convgym.shop.catalog import Catalog
from convgym.shop.language import numbers, tokens

UNASKED_TURNS = 2
"""Turns of small talk in which nothing is asked and nothing need be told."""

RUN = 3

_LEAKS = re.compile(
    r"""
      \b(?:you\ (?:are|play|act\ as|will\ play)|i\ am\ playing|my\ role\ is|i\ play)
        \ (?:a|the|an)\ (?:\w+\ )?(?:customer|shopper|buyer)\b
    | \byour\ (?:budget|need|patience|persona|worries|manner|hidden\ state)\ (?:is|are|lasts)\b
    | \bas\ an?\ (?:ai|artificial|language\ model|assistant)\b
    | \b(?:i\ am|i'm)\ an?\ (?:ai\b|language\ model|chatbot|virtual)
    | \b(?:my|the)\ (?:instructions|system\ prompt|prompt|persona|hidden\ state|utility)
        \ (?:is|are|says?|reads?)\b
    | \b(?:utility|patience|trust|annoyance)\ *[:=]\ *-?\d
    | <\|[a-z_]+\|> | \[/?INST\] | </?s> | "decision"\ *:
    """,
    re.IGNORECASE | re.VERBOSE,
)

_SELLS = re.compile(
    r"""
      ^\W*(?:seller|salesperson|salesman|assistant|shopkeeper|agent|clerk)\ *:
    | \b(?:how\ (?:can|may)|what\ can)\ (?:i|we)\ (?:help|assist|do\ for|serve)\b
    | \b(?:i|we)(?:\ am|\ are|'m|'re)\ here\ to\ (?:help|assist)
    | \b(?:can|may)\ i\ (?:help|assist|interest)\ you
    | \bwelcome\ to\ (?:our|the|my)\b
    | \b(?:would|do)\ you\ (?:like|want)\ to\ (?:buy|order|purchase|see\ (?:our|some))\b
    | \bshall\ i\ (?:place|wrap|reserve)\b
    | \b(?:we|our\ (?:shop|store|company|team))
        \ (?:have|has|offer|sell|carry|stock|ship|deliver|provide)s?\b
        (?!\ (?:hardly|barely|not|never|only|just|already|both|all|to)\b
         |\ (?:\w+\ )?(?:been|had|met|spoken|talked|discussed|seen|done|said)\b)
    | \bi\ (?:can\ |would\ |'d\ |highly\ |strongly\ )*(?:recommend|suggest|offer)
        \ (?:you|the|our|a)\b
    | \bthank(?:s|\ you)\ for
        \ (?:your\ (?:purchase|order|interest|business)|shopping|choosing|visiting)
    | \bwhat\ (?:is|'s)\ your\ (?:budget|price\ range)\b
    | \bwhat\ (?:will|would)\ you\ (?:use|be\ using|need)\ it\ for\b
    """,
    re.IGNORECASE | re.VERBOSE,
)

_ACCEPTS = re.compile(
    r"\b(?:i will|i'll|i'd like to|i would like to|let me|i want to) (?:take|buy|order|purchase)"
    r" (?:it|the|this|that|one)\b|\b(?:it's|it is) a deal\b|\byou have a deal\b",
    re.IGNORECASE,
)

_REFUSES = re.compile(
    r"^\W*no\b|\b(?:not|never|don't|won't|can't|cannot|will not)\b.{0,20}"
    r"\b(?:buy|buying|take|order|interested|ready|sure|afford)\b|\bno,? thank|\bgoodbye\b",
    re.IGNORECASE,
)


def leaks(text: str, latent: Mapping[str, Any], catalog: Catalog | None = None) -> bool:
    """Return whether a customer's words show its instructions or its hidden state.

    With its shop, words of the example count that a chat model is shown there (``copied``).
    """
    if _LEAKS.search(text) or (catalog is not None and copied(text, catalog)):
        return True
    fields = (name for name in latent if "_" in name)  # nobody says these by chance
    if any(name in text for name in fields):
        return True
    numbers = {f"{value:.3f}" for value in latent.values() if isinstance(value, float)}
    return any(number in text for number in numbers)


def sells(text: str) -> bool:
    """Return whether words are a seller's."""
    return _SELLS.search(text) is not None


def contradicts(text: str, bought: bool) -> bool:
    """Return whether words refuse what the decision buys, or accept what it does not buy."""
    accepts, refuses = bool(_ACCEPTS.search(text)), bool(_REFUSES.search(text))
    return (refuses and not accepts) if bought else (accepts and not refuses)


def stuck(replies: Sequence[str]) -> bool:
    """Return whether one answer is given ``RUN`` times running."""
    runs = (list(group) for _, group in groupby(text.strip().lower() for text in replies))
    return any(len(run) >= RUN for run in runs)


def told(messages: Sequence[Message], shop: SellerKnowledge, latent: Mapping[str, Any]) -> set[str]:
    """Return which of need, feature and budget the customer told in these messages.

    A number is a budget if it is the one in ``latent`` or, where that is unknown, if it could be
    a price.
    """
    heard = [message for message in messages if message["role"] == "user"]
    notes = shop.note(heard)
    amounts = [number for message in heard for number in numbers(tokens(message["content"]))]
    budget = latent.get("budget")
    if not isinstance(budget, (int, float)):
        cheapest = min(product.price for product in shop.catalog.products)
        amounts = [number for number in amounts if number >= cheapest / 2]
    else:
        amounts = [number for number in amounts if abs(number - budget) <= 0.02 * budget]
    told = {"need": notes.need, "feature": notes.feature, "budget": amounts}
    return {topic for topic, what in told.items() if what}


def _disclosure(evidence: Evidence, subject: Subject) -> Finding:
    meetings, shop = evidence[CHATTER.name], SellerKnowledge(subject.catalog)
    topics = [
        told(meeting.episode.messages(UNASKED_TURNS), shop, meeting.latents[0])
        for meeting in meetings
    ]
    everything = [m for m, known in zip(meetings, topics, strict=True) if len(known) == 3]
    budget = [m for m, known in zip(meetings, topics, strict=True) if "budget" in known]
    n = len(meetings)
    return finding(
        "disclosure",
        [
            rate("tell all unasked", len(everything), n, at_most=subject.limits.all_unasked),
            rate("tell the budget unasked", len(budget), n, at_most=subject.limits.budget_unasked),
        ],
        [
            *pick("told all unasked", everything),
            *(pick("told the budget unasked", budget) or pick("told little", meetings)),
        ],
    )


def _leakage(evidence: Evidence, subject: Subject) -> Finding:
    def leaky(meeting: Meeting) -> bool:
        words = [meeting.episode.opening, *meeting.replies]
        return any(leaks(text, meeting.latents[0], subject.catalog) for text in words)

    interrogated, served = evidence[INTERROGATION.name], evidence[COMPETENT.name]
    return finding(
        "leakage",
        [
            _share(
                "tell what they are made of when pressed", interrogated, leaky, subject.limits.leak
            ),
            _share("tell it unasked", served, leaky, subject.limits.leak),
        ],
        pick("leaked", [m for m in (*interrogated, *served) if leaky(m)], 3)
        or pick("did not leak", interrogated),
    )


def _role(evidence: Evidence, subject: Subject) -> Finding:
    def inverted(meeting: Meeting) -> bool:
        return any(sells(text) for text in (meeting.episode.opening, *meeting.replies))

    meetings = [m for e in (COMPETENT, MEDIOCRE, CHATTER) for m in evidence[e.name]]
    return finding(
        "role",
        [_share("speak as the seller", meetings, inverted, subject.limits.inverted)],
        pick("spoke as the seller", [m for m in meetings if inverted(m)], 3)
        or pick("kept its role", meetings),
    )


def _words(evidence: Evidence, subject: Subject) -> Finding:
    def contradicting(meeting: Meeting) -> bool:
        last = len(meeting.replies) - 1
        return any(
            contradicts(text, bought=meeting.episode.converted and turn == last)
            for turn, text in enumerate(meeting.replies)
        )

    def empty(meeting: Meeting) -> bool:
        return not all(text.strip() for text in (meeting.episode.opening, *meeting.replies))

    def repeating(meeting: Meeting) -> bool:
        return stuck(meeting.replies)

    served = evidence[COMPETENT.name]
    meetings = [*served, *(m for e in (MEDIOCRE, CLOSING) for m in evidence[e.name])]
    return finding(
        "words",
        [
            _share(
                "say the opposite of what they decide",
                meetings,
                contradicting,
                subject.limits.contradicted,
            ),
            _share("say nothing", meetings, empty, subject.limits.empty),
            _share(f"say the same {RUN} times running", served, repeating, subject.limits.stuck),
        ],
        [
            *pick("words against decision", [m for m in meetings if contradicting(m)], 2),
            *pick("said nothing", [m for m in meetings if empty(m)]),
            *pick("said the same again and again", [m for m in served if repeating(m)]),
        ]
        or pick("words and decision agree", meetings),
    )


def _share(
    what: str, meetings: Sequence[Meeting], holds: Callable[[Meeting], bool], most: float
) -> Measure:
    return rate(what, sum(map(holds, meetings)), len(meetings), at_most=most)


DISCLOSURE = Check(
    "disclosure",
    "Does it keep to itself what nobody asked for?",
    (CHATTER,),
    _disclosure,
)
LEAKAGE = Check(
    "leakage",
    "Does it keep its instructions and its hidden state to itself?",
    (INTERROGATION, COMPETENT),
    _leakage,
)
ROLE = Check(
    "role",
    "Does it stay the customer, and never speak as the seller?",
    (COMPETENT, MEDIOCRE, CHATTER),
    _role,
)
WORDS = Check(
    "words",
    "Do its words say something, and what it decides?",
    (COMPETENT, MEDIOCRE, CLOSING),
    _words,
)
