"""One conversation with one customer: the rules that every environment shares."""

from __future__ import annotations

import copy
import inspect
import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any, cast

import numpy as np
from gymnasium.error import ResetNeeded

from convgym import noise
from convgym.checks import check_seed
from convgym.conversation import Message, Outcome, Response, clean, render
from convgym.customers.base import Customer, Decision, Reply, Snapshottable, is_snapshottable
from convgym.customers.concurrently import close_now, is_concurrent, reset_now, respond_now
from convgym.customers.innermost import innermost, kind_of, kind_that_raises
from convgym.customers.together import (
    Answer,
    Opening,
    is_batched,
    reset_customers,
    respond_customers,
)
from convgym.errors import ConvgymError, InfrastructureError, unknown
from convgym.reasoning import heard
from convgym.seeds import EVALUATION_BASE
from convgym.shop.catalog import Catalog
from convgym.usage import count_conversation, count_turn

# Many conversations are held in one shop.
_leaflet = lru_cache(maxsize=8)(Catalog.leaflet)

_ENDINGS: dict[Decision, Outcome | None] = {
    Decision.CONTINUE: None,
    Decision.BUY: "purchase",
    Decision.LEAVE: "walk_away",
}

REWARDS = ("purchase", "revenue", "margin")
"""What a purchase is worth: 1, the price that was paid, or what is left of it after costs."""


def draw_episode_seed(generator: np.random.Generator) -> int:
    """Return an episode seed in [0, 2**31): never one of the evaluation seeds."""
    return int(generator.integers(EVALUATION_BASE))


def check_utterance(utterance: object) -> None:
    """Raise ConvgymError unless a seller can say this: any ``str``, however strange."""
    if not isinstance(utterance, str):
        raise ConvgymError(
            f"an action must be a str, the seller's utterance; got {type(utterance).__name__}:"
            f" {repr(utterance)[:60]}"
        )


def check_options(options: object, known: Sequence[str]) -> Mapping[str, Any]:
    """Return the options of a reset, none for None; ConvgymError unless all are ``known``."""
    if options is None:
        return {}
    if not isinstance(options, Mapping):
        raise ConvgymError(f"a reset's options must be options by name, got {repr(options)[:60]}")
    for name in options:
        if name not in known:
            raise unknown("reset option", name, known)
    return options


class Dialogue:
    """A customer, the conversation with it so far, and how that ended.

    Utterances pass through ``clean`` before anybody reads or records them, and of a seller's only
    what is said counts, not what a reasoning model thinks (``convgym.reasoning``). A turn in which
    the customer's backend fails is not part of the conversation; if it fails before the customer
    said anything, the opening is empty and the first step reports the failure.

    Attributes:
        customer: the customer, used again for every conversation.
        seed: what the present customer was drawn from; None before the first reset.
        messages: the conversation as chat messages; grows in place until the next reset.
        text: the same as text, always equal to ``render(messages)``.
        turn: turns so far.
        noise: how noisily the customer is heard, see ``convgym.noise``.
        rewards: what a purchase is worth, one of ``REWARDS``.
        outcome: how the conversation ended, None while it goes on.
        failure: what the customer's or the seller's backend said when it failed, else None.
    """

    __slots__ = (
        "_can_go_back",
        "customer",
        "failure",
        "max_turns",
        "messages",
        "noise",
        "outcome",
        "rewards",
        "seed",
        "text",
        "turn",
    )

    def __init__(
        self, customer: Customer, max_turns: int, noise: float = 0.0, rewards: str = "purchase"
    ) -> None:
        self.customer = customer
        self.max_turns, self.noise, self.rewards = max_turns, noise, rewards
        self._can_go_back = is_snapshottable(customer)
        self.seed: int | None = None
        self.messages: list[Message] = []
        self.text = ""
        self.turn = 0
        self.outcome: Outcome | None = None
        self.failure: str | None = None

    def reset(self, seed: int) -> None:
        """Meet the customer drawn from ``seed``, a non-negative integer (else ConvgymError)."""
        seed = check_seed(seed)
        opening: Opening
        try:
            opening = reset_now(self.customer, seed)
        except InfrastructureError as error:
            opening = error
        except Exception as error:
            self._blame(error, "reset", seed)
            raise
        self.open(seed, opening)

    def open(self, seed: int, opening: Opening) -> None:
        """Begin with what the customer of a seed opened with, or raise what it raised."""
        if wrong := self._wrong_opening(opening, seed):
            raise wrong
        self._open(seed, opening)

    def _open(self, seed: int, opening: Opening) -> None:
        count_conversation(seed)
        self.seed = seed
        self.turn, self.outcome, self.failure = 0, None, None
        self.messages = []
        if not isinstance(opening, str):
            opening, self.failure = "", str(opening)
        self.messages = [{"role": "user", "content": self._heard(opening)}]
        self.text = render(self.messages)

    def step(self, utterance: str) -> None:
        """Say ``utterance`` and hear the reply.

        Raises ConvgymError if the action is not a ``str`` or the customer breaks its protocol,
        ResetNeeded if there is no conversation to continue.
        """
        said = self.say(utterance)
        if self.failure is not None:
            return self._fail(self.failure)
        answer: Answer
        try:
            answer = respond_now(self.customer, said)
        except InfrastructureError as error:
            answer = error
        except Exception as error:
            self._blame(error, "respond", self.seed)
            raise
        self.hear(said, answer)

    def say(self, utterance: str) -> str:
        """Return what the customer is to hear of an utterance; raises as ``step``."""
        check_utterance(utterance)
        if self.seed is None or self.outcome is not None:
            raise ResetNeeded("there is no conversation to continue: call reset() before step()")
        return heard(utterance)

    def hear(self, said: str, answer: Answer) -> None:
        """Go on with the customer's answer to what was said, or raise what it raised."""
        if wrong := self._wrong_reply(answer):
            raise wrong
        self._hear(said, answer)

    def break_off(self, reason: str) -> None:
        """End the conversation as the seller's backend failed; a customer's failure comes first.

        Raises ResetNeeded if there is no conversation to end.
        """
        self.say("")
        if self.failure is not None:
            return self._fail(self.failure)
        self.failure, self.outcome = reason, "seller_failure"

    def _blame(self, error: Exception, method: str, seed: int | None) -> Exception:
        """Note at an error of the customer's own code whose it is, and in which conversation."""
        kind = kind_that_raises(self.customer)
        error.add_note(f"raised by {method} of customer {kind}, {self._when(method, seed)}")
        return error

    def _when(self, method: str, seed: int | None) -> str:
        return f"episode seed {seed}" + f", turn {self.turn + 1}" * (method == "respond")

    def _got(self, given: object, method: str, seed: int | None) -> str:
        """Return what the customer gave where something else was expected, where, and when."""
        place = _place(innermost(self.customer), method)
        return f"{_shown(given, method)}{place}, {self._when(method, seed)}"

    def _wrong_opening(self, opening: Opening, seed: int) -> Exception | None:
        """Return what the customer raised, or what is to be raised for no opening at all."""
        if isinstance(opening, str):
            return self._no_such_reward()
        if isinstance(opening, InfrastructureError):
            return None
        if isinstance(opening, Exception):
            return self._blame(opening, "reset", seed)
        return ConvgymError(
            f"customer {self.kind} must open with a str, got {self._got(opening, 'reset', seed)}"
        )

    def _no_such_reward(self) -> Exception | None:
        """Return what is to be raised if the customer will not say what a purchase is worth."""
        if self.rewards == "purchase" or self._entry in self._paid:
            return None
        return ConvgymError(
            f"reward={self.rewards!r} needs a customer whose record holds the {self._entry} that it"
            f" paid, as the shopper's does; {self.kind}'s does not"
        )

    @property
    def _entry(self) -> str:
        return {"revenue": "price"}.get(self.rewards, self.rewards)

    @property
    def _paid(self) -> Mapping[str, Any]:
        record = getattr(self.customer, "record", {})
        return record if isinstance(record, Mapping) else {}

    def _wrong_reply(self, reply: Answer) -> Exception | None:
        """Return what the customer raised, or what is to be raised for no reply at all."""
        if isinstance(reply, InfrastructureError):
            return None
        if isinstance(reply, Exception):
            return self._blame(reply, "respond", self.seed)
        # What stands in place of a decision may not even be hashable.
        whole = isinstance(reply, Reply) and isinstance(reply.text, str)
        if whole and isinstance(reply.decision, str) and reply.decision in _ENDINGS:
            return None
        return ConvgymError(
            f"customer {self.kind} must respond with a Reply that holds a"
            f" Decision, got {self._got(reply, 'respond', self.seed)}"
        )

    def mark(self) -> Callable[[], None] | None:
        """Return what puts everything back to how it is now, None if the customer cannot be."""
        if not self._can_go_back:
            return None
        customer = cast("Snapshottable", self.customer)
        # A customer that was never met, or whose backend failed, has no state worth keeping.
        has_state = self.seed is not None and self.failure is None
        # Copies cost more than a turn of a scripted customer, turns of a chat model more than that.
        costly = is_batched(customer) or is_concurrent(customer)
        kept = customer.snapshot() if has_state and costly else None
        fields = (self.seed, self.turn, self.outcome, self.failure, self.text)
        messages, n = self.messages, len(self.messages)

        def go_back() -> None:
            self.seed, self.turn, self.outcome, self.failure, self.text = fields
            self.messages = messages
            del messages[n:]
            if kept is not None:
                customer.restore(kept)
            elif has_state:
                self._relive()

        return go_back

    def _relive(self) -> None:
        """Bring the customer to where the conversation is, by the seed and what was said."""
        assert self.seed is not None
        reset_now(self.customer, self.seed)
        for message in self.messages:
            if message["role"] == "assistant":
                respond_now(self.customer, message["content"])

    def _fail(self, reason: str) -> None:
        self.failure, self.outcome = reason, "infrastructure_failure"

    def _hear(self, said: str, reply: Answer) -> None:
        """Go on with the customer's answer, or end."""
        if not isinstance(reply, Reply):
            return self._fail(str(reply))
        ending = _ENDINGS[reply.decision]
        new: list[Message] = [
            {"role": "assistant", "content": said},
            {"role": "user", "content": self._heard(reply.text)},
        ]
        self.messages += new
        self.text += "\n" + render(new)
        self.turn += 1
        count_turn()
        self.outcome = ending or ("turn_limit" if self.turn >= self.max_turns else None)

    def _heard(self, text: str) -> str:
        """Return what is heard of a customer's words."""
        if not self.noise:
            return clean(text)
        rng = random.Random(f"noise-v{noise.VERSION}/{self.seed}/{len(self.messages)}")
        return clean(noise.noisy(clean(text), self.noise, rng))

    @property
    def kind(self) -> str:
        """The name of the customer's class, for messages to its author."""
        return kind_of(self.customer)

    @property
    def fingerprint(self) -> str:
        """The customer's, and how noisily it is heard if it is."""
        fingerprint = self.customer.fingerprint
        return f"{fingerprint}+noise-v{noise.VERSION}:{self.noise:g}" if self.noise else fingerprint

    @property
    def leaflet(self) -> str:
        """What a seller can read of the shop; empty if the customer has no catalogue."""
        catalog = getattr(self.customer, "catalog", None)
        return _leaflet(catalog) if isinstance(catalog, Catalog) else ""

    @property
    def terminated(self) -> bool:
        return self.outcome == "purchase" or self.outcome == "walk_away"

    @property
    def truncated(self) -> bool:
        return self.outcome is not None and not self.terminated

    @property
    def reward(self) -> float:
        """What the last step is worth; ConvgymError if the customer does not say what it paid."""
        if self.outcome != "purchase":
            return 0.0
        if self.rewards == "purchase":
            return 1.0
        worth = self._paid.get(self._entry)
        if not isinstance(worth, int | float):
            raise ConvgymError(
                f"reward={self.rewards!r} needs the {self._entry} as a number in the record of a"
                f" customer that has bought, got {repr(worth)[:60]} from"
                f" {self.kind}"
            )
        return float(worth)

    def opening_info(self, reveal_latent: bool = False) -> dict[str, Any]:
        """Return what a reset tells: ``info`` and the seller's briefing."""
        return {
            **self.info(reveal_latent),
            "briefing": getattr(self.customer, "briefing", ""),
        }

    def info(self, reveal_latent: bool = False) -> dict[str, Any]:
        """Return what a step tells, as data of the caller's own."""
        info: dict[str, Any] = {
            "messages": [message.copy() for message in self.messages],
            "turn": self.turn,
            "episode_seed": self.seed,
        }
        if self.outcome is not None:
            info["outcome"] = self.outcome
        if self.failure is not None:
            info["failure"] = self.failure
        if reveal_latent:
            info["latent"] = copy.deepcopy(self.customer.latent)
        return info

    def close(self) -> None:
        """Close the customer if it can be closed."""
        close_now(self.customer)


def reset_together(dialogues: Sequence[Dialogue], seeds: Iterable[int]) -> None:
    """Reset each dialogue as ``Dialogue.reset`` does; customers that can, answer together."""
    checked = [check_seed(seed) for seed in seeds]
    openings = reset_customers([dialogue.customer for dialogue in dialogues], checked)
    wrong: list[Exception] = []
    for dialogue, seed, opening in zip(dialogues, checked, openings, strict=True):
        if problem := dialogue._wrong_opening(opening, seed):
            wrong.append(problem)
        else:
            dialogue._open(seed, opening)
    _raise_first(wrong)


def step_together(dialogues: Sequence[Dialogue], utterances: Iterable[str]) -> None:
    """Step each dialogue as ``Dialogue.step`` does; customers that can, answer together.

    Nobody has moved if one of the utterances is no ``str`` or one of the dialogues has ended. If a
    customer's own code raises, the others have moved as a whole before that is raised.
    """
    said = [dialogue.say(text) for dialogue, text in zip(dialogues, utterances, strict=True)]
    asked = [pair for pair in zip(dialogues, said, strict=True) if pair[0].failure is None]
    answers = iter(respond_customers([d.customer for d, _ in asked], [text for _, text in asked]))
    wrong: list[Exception] = []
    for dialogue, text in zip(dialogues, said, strict=True):
        if dialogue.failure is not None:
            dialogue._fail(dialogue.failure)
            continue
        answer = next(answers)
        if problem := dialogue._wrong_reply(answer):
            wrong.append(problem)
        else:
            dialogue._hear(text, answer)
    _raise_first(wrong)


def respond_together(dialogues: Sequence[Dialogue], responses: Sequence[Response]) -> None:
    """Step each dialogue by a policy's response; those whose seller failed end, and no other."""
    pairs = list(zip(dialogues, responses, strict=True))
    spoken = [pair for pair in pairs if pair[1].failure is None]
    for dialogue, response in pairs:
        if response.failure is not None:
            dialogue.break_off(response.failure)
    step_together([dialogue for dialogue, _ in spoken], [response.text for _, response in spoken])


def _shown(given: object, method: str) -> str:
    """Return what a customer gave where something else was expected, with the likely reason."""
    shown = repr(given)[:100]
    if given is None:
        return f"{shown}: a branch of {method} has no return"
    if isinstance(given, str) and method == "respond":
        return f"{shown}: write Reply({shown})"
    if inspect.iscoroutine(given):
        given.close()  # nobody is going to wait for it
        return f"{shown}: write `async def {method}`, or return what the coroutine returns"
    return shown


def _place(customer: object, method: str) -> str:
    """Return where a customer's method is written, if that can be told."""
    code = getattr(getattr(type(customer), method, None), "__code__", None)
    if code is None:
        return ""
    return f" ({Path(code.co_filename).name}, line {code.co_firstlineno})"


def _raise_first(errors: list[Exception]) -> None:
    """Raise the first of several errors, if there is one, and forget the others."""
    if errors:
        error = errors[0]
        errors.clear()  # lest the error hold a frame that holds the error
        try:
            raise error
        finally:
            del error


@contextmanager
def all_or_nothing(dialogues: Sequence[Dialogue]) -> Iterator[None]:
    """Put dialogues back to where they were if what is done to them raises."""
    marks = [dialogue.mark() for dialogue in dialogues]
    try:
        yield
    except BaseException:
        for go_back in marks:
            if go_back is not None:
                go_back()
        raise
