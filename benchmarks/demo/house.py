"""What visitors do, without a page: they sell, ask for advice, watch, and learn how it ended."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from threading import Lock

from convgym.benchmarks.demo.cast import Cast
from convgym.benchmarks.talks.advice import Advice, Adviser
from convgym.benchmarks.talks.hindsight import Fact, hindsight
from convgym.benchmarks.talks.scene import Scene, check_whole
from convgym.conversation import MAX_UTTERANCE_CHARS, Message, Outcome, Response
from convgym.errors import ConvgymError
from convgym.policy import Conversation
from convgym.seeds import EVALUATION_BASE
from convgym.talk import Talk

_LARGEST_SEED = 2**53 - 1
"""The largest whole number that browsers count to."""


class Refusal(ConvgymError):
    """Something that a visitor did does not work, told to the visitor in one sentence."""


@dataclass(frozen=True)
class View:
    """A conversation as it is shown."""

    seller: str
    """Who sells: "You", or a label."""
    seed: int
    turn: int
    max_turns: int
    messages: tuple[Message, ...]
    values: tuple[float | None, ...]
    """Q of what the seller said, turn by turn: None where there is no Q."""
    outcome: Outcome | None = None
    facts: tuple[Fact, ...] = ()
    """Once it is over: why, and what the customer kept to itself."""
    waits_for: str = ""
    """Who is about to speak: "customer", or nobody in particular."""


@dataclass
class Visit:
    """A visitor's own conversation, in which nobody else can speak."""

    talk: Talk
    values: list[float | None] = field(default_factory=list)
    lock: Lock = field(default_factory=Lock)

    def close(self) -> None:
        """Let the customer go."""
        self.talk.close()


class House:
    """A shop with its sellers, open to any number of visitors at once.

    Args:
        scene: the shop and its customers.
        cast: the sellers.
        adviser: judges what is said.
    """

    def __init__(self, scene: Scene, cast: Cast, adviser: Adviser) -> None:
        self.scene, self.cast, self.adviser = scene, cast, adviser

    def meet(self, seed: object) -> Visit:
        """Return a visit at which the customer of this seed has just come in.

        Raises:
            Refusal: for what is no seed.
            InfrastructureError: if the customer's backend fails.
        """
        return Visit(_begun(self.scene, read_seed(seed), "you"))

    def show(self, visit: Visit) -> View:
        """Return how a visitor's conversation stands."""
        return self._view(visit.talk, "You", visit.values)

    def say(self, visit: Visit | None, words: str) -> Iterator[View]:
        """Say something to the customer: yield it with the answer to come, and with the answer.

        Raises:
            Refusal: when there is nobody to talk to, and for words that cannot be said.
            InfrastructureError: if the customer's backend fails.
        """
        visit = _present(visit)
        said = _checked(words)
        if not said:
            raise Refusal("Write what you want to say to the customer first.")
        if not visit.lock.acquire(blocking=False):
            raise Refusal("The customer has not answered yet: wait a moment.")
        try:
            talk = visit.talk
            yield self._view(talk, "You", [*visit.values, None], said=said)
            values = self.adviser.values(_now(talk), [said])
            talk.hear(Response(said))
            visit.values += values
            check_whole(talk)
            yield self.show(visit)
        finally:
            visit.lock.release()

    def advise(self, visit: Visit | None, words: str) -> list[Advice]:
        """Return what could be said now: the visitor's words first, if there are some.

        Raises:
            Refusal: when there is nobody to talk to, and for words that cannot be said.
        """
        talk = _present(visit).talk
        policies = {label: self.cast.policy(label, talk.seed) for label in self.cast.advisers}
        return self.adviser.advise(_now(talk), policies, _checked(words))

    def watch(self, labels: tuple[str, str], seed: object) -> Iterator[tuple[View, View]]:
        """Have two sellers meet the same customer, and yield how both stand after every turn.

        Raises:
            Refusal: for what is no seed, or a seller who does not work here.
            InfrastructureError: if a backend fails.
        """
        number = read_seed(seed)
        for label in labels:
            if label not in self.cast.labels:
                raise Refusal("Choose two sellers from the lists.")
        policies = [self.cast.policy(label, number) for label in labels]
        names = [self.cast.name(label) for label in labels]
        with (
            _begun(self.scene, number, names[0]) as first,
            _begun(self.scene, number, names[1]) as second,
        ):
            talks = (first, second)
            values: tuple[list[float | None], list[float | None]] = ([], [])
            yield self._views(talks, labels, values)
            while any(talk.outcome is None for talk in talks):
                for talk, policy, known in zip(talks, policies, values, strict=True):
                    if talk.outcome is None:
                        before = _now(talk)
                        talk.step(policy)
                        check_whole(talk)
                        said = talk.messages[-2]["content"]
                        known += self.adviser.values(before, [said])
                        yield self._views(talks, labels, values)

    def _views(
        self,
        talks: tuple[Talk, Talk],
        labels: tuple[str, str],
        values: tuple[list[float | None], list[float | None]],
    ) -> tuple[View, View]:
        first, second = (
            self._view(talk, label, known)
            for talk, label, known in zip(talks, labels, values, strict=True)
        )
        return first, second

    def _view(
        self, talk: Talk, seller: str, values: list[float | None], said: str | None = None
    ) -> View:
        facts: tuple[Fact, ...] = ()
        if talk.outcome is not None:
            subject = "you" if seller == "You" else "the seller"
            facts = tuple(
                hindsight(talk.episode(seller), talk.latent, self.scene.catalog, seller=subject)
            )
        pending: list[Message] = [] if said is None else [{"role": "assistant", "content": said}]
        return View(
            seller,
            talk.seed,
            talk.turn,
            talk.max_turns,
            (*talk.messages, *pending),
            tuple(values),
            talk.outcome,
            facts,
            "" if said is None else "customer",
        )


def read_seed(given: object) -> int:
    """Return a seed that a visitor gave; Refusal for anything but a whole number from 0 up."""
    if isinstance(given, float) and given.is_integer():
        given = int(given)
    if isinstance(given, bool) or not isinstance(given, int) or not 0 <= given <= _LARGEST_SEED:
        raise Refusal(f"A seed is a whole number from 0 to {_LARGEST_SEED}.")
    return given


def another_seed() -> int:
    """Return a seed that nobody knows beforehand; of customers that no evaluation meets."""
    return random.SystemRandom().randrange(EVALUATION_BASE)


def _begun(scene: Scene, seed: int, seller: str) -> Talk:
    talk = scene.talk(seed, seller)
    if talk.failure is not None:  # told at the first turn, and there will be none
        talk.hear(Response(""))
        talk.close()
        check_whole(talk)
    return talk


def _present(visit: Visit | None) -> Visit:
    if visit is None:
        raise Refusal("Nobody is in the shop yet: meet a customer first.")
    if visit.talk.outcome is not None:
        raise Refusal("This conversation is over: meet another customer.")
    return visit


def _checked(words: object) -> str:
    text = words if isinstance(words, str) else ""
    if len(text) > MAX_UTTERANCE_CHARS:
        raise Refusal(
            f"That is {len(text):,} characters long, and customers listen to"
            f" {MAX_UTTERANCE_CHARS:,} at a time: say less."
        )
    return text.strip()


def _now(talk: Talk) -> Conversation:
    """Return a conversation as it stands: it does not grow when the talk goes on."""
    now = talk.conversation
    return Conversation(now.seed, list(now.messages), now.rng, None, now.leaflet)
