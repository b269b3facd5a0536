"""Does the customer stand by what it said?

arXiv 2511.00222 asks of every line whether it agrees with the ones before (line to line) and with
the persona (prompt to line), judged by a language model. Here a seller asks for need, feature and
budget, makes an offer, and asks for each again; statements are read where they can be read with
certainty, in the reply to the question, by the shop's own vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from convgym.benchmarks.validation.encounters import Meeting
from convgym.benchmarks.validation.realism.bootstrap import share_of
from convgym.benchmarks.validation.realism.figures import Figure, figure, not_measured
from convgym.benchmarks.validation.realism.sellers import asked
from convgym.benchmarks.validation.speech import contradicts
from convgym.shop.catalog import Catalog
from convgym.shop.language import TOPICS, lexicon, numbers, tokens
from convgym.statistics import wilson_interval

CONTRADICTED = 0.05
"""Conversations in which a customer takes back what it said: an error, as people seldom do."""

NEAR = 0.2
"""Two budgets contradict each other if they are further apart than that, of the larger one: people
name a round sum, then another that is about the same."""

Statement = str | tuple[int, int]
"""A need, a feature, or the least and the most of a budget."""


@dataclass(frozen=True, slots=True)
class Said:
    """What a customer stated of a topic, and the turn."""

    topic: str
    what: Statement
    turn: int


class Reader:
    """Reads statements of need, feature and budget in the vocabulary of a shop."""

    def __init__(self, catalog: Catalog) -> None:
        self._lexicon = lexicon(catalog)
        self._cheapest = min(product.price for product in catalog.products)

    def read(self, topic: str, reply: str) -> Statement | None:
        """Return what a reply to a question for a topic states, None if that is not certain.

        A need or a feature is certain if exactly one is named. A budget is the numbers that may be
        prices: at least a third of the cheapest product's.
        """
        words = tokens(reply)
        if topic == "budget":
            amounts = [number for number in numbers(words) if number >= self._cheapest / 3]
            return (min(amounts), max(amounts)) if amounts else None
        union = 0
        for word in words:
            union |= self._lexicon.concepts(word) or 0
        named = self._lexicon.labels(union, f"{topic}:")
        return named[0] if len(named) == 1 else None

    def statements(self, meeting: Meeting) -> list[Said]:
        """Return what the customer stated to the examining seller, in order."""
        return [
            Said(topic, what, turn)
            for turn, (topic, reply) in enumerate(
                zip(asked(meeting.episode.seed), meeting.replies, strict=False)
            )
            if topic in TOPICS and (what := self.read(topic, reply)) is not None
        ]


def agree(a: Statement, b: Statement) -> bool:
    """Tell whether two statements of one topic can both be true."""
    if isinstance(a, tuple) and isinstance(b, tuple):
        (low_a, high_a), (low_b, high_b) = a, b
        gap = max(low_a, low_b) - min(high_a, high_b)
        return gap <= NEAR * max(high_a, high_b)
    return a == b


def true_of(said: Said, profile: Mapping[str, Any]) -> bool | None:
    """Tell whether a statement is what the profile says, None if the profile does not say it."""
    known = profile.get(said.topic)
    if said.topic == "budget":
        if not isinstance(known, int | float) or not isinstance(said.what, tuple):
            return None
        return agree(said.what, (round(known), round(known)))
    return said.what == known if isinstance(known, str) else None


def consistency(
    examined: Sequence[Meeting], meetings: Sequence[Meeting], catalog: Catalog
) -> tuple[Figure, ...]:
    """Return how often a customer contradicts itself.

    Args:
        examined: conversations with the examining seller.
        meetings: all others, in which words and decision are compared.
        catalog: the shop, whose vocabulary is read.
    """
    reader = Reader(catalog)
    stated = [(meeting, reader.statements(meeting)) for meeting in examined]
    return (
        *(_by_topic(topic, [said for _, said in stated]) for topic in TOPICS),
        *(_by_profile(topic, stated) for topic in TOPICS),
        _rate(
            "words against the decision",
            meetings,
            lambda meeting: any(
                contradicts(text, meeting.episode.converted and turn == len(meeting.replies) - 1)
                for turn, text in enumerate(meeting.replies)
            ),
        ),
    )


def _by_topic(topic: str, stated: Sequence[Sequence[Said]]) -> Figure:
    name = f"{topic}: takes back what it said"
    twice = [
        whats
        for said in stated
        if len(whats := [each.what for each in said if each.topic == topic]) > 1
    ]
    if not twice:
        return not_measured(name, f"no conversation in which the {topic} could be read twice")
    wrong = sum(not all(agree(whats[0], later) for later in whats[1:]) for whats in twice)
    return figure(name, wilson_interval(wrong, len(twice)), len(twice), "conversations",
                  most=CONTRADICTED)  # fmt: skip


def _by_profile(topic: str, stated: Sequence[tuple[Meeting, Sequence[Said]]]) -> Figure:
    name = f"{topic}: says what its profile says"
    first = [
        (meeting, each)
        for meeting, said in stated
        for each in [each for each in said if each.topic == topic][:1]
    ]
    told = [
        true for meeting, each in first if (true := true_of(each, meeting.latents[0])) is not None
    ]
    if not told:
        return not_measured(name, f"its {topic} cannot be read in its hidden state or its words")
    return figure(name, wilson_interval(sum(told), len(told)), len(told), "conversations")


def _rate(name: str, meetings: Sequence[Meeting], holds: Callable[[Meeting], bool]) -> Figure:
    by_seed: dict[int, list[bool]] = {}
    for meeting in meetings:
        by_seed.setdefault(meeting.episode.seed, []).append(holds(meeting))
    estimate = share_of([sum(h) for h in by_seed.values()], [len(h) for h in by_seed.values()])
    return figure(name, estimate, len(meetings), "conversations", most=CONTRADICTED)
