"""The suggested-response setting of Iterative PPO (arXiv 2511.21638): a business in between.

The agent no longer speaks to the customer. It suggests what to say to a business, and the
business decides what is sent::

    P(s' | s, a) = sum over messages m of P(s' | s, a, m) P(m | s, a)

For every suggestion the business draws one of four ways, with the probabilities of ``Business``:

=============  ====================================================================================
``verbatim``   the suggestion is sent as it is
``edited``     its first sentence is sent, with a courtesy before it
``influenced`` it is rejected, but of four messages of the business's own the one that shares most
               words with it is sent
``ignored``    the business sends words of its own
=============  ====================================================================================

A suggestion that is longer than ``longest`` words, or that repeats what was sent before, is liked
less: its first two probabilities are multiplied by ``distaste`` and what is taken off goes to
``ignored``. An empty suggestion abstains (``abstained``): the business speaks for itself.

The state holds both what was suggested and what was sent: the suggestion is the seller's message,
and where something else was sent, the reply begins with it, ``[sent: Of course. ...] I see.``
"""

from __future__ import annotations

import hashlib
import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, NamedTuple, Protocol, Self, TypeAlias, TypeVar

from convgym.checks import check_number
from convgym.conversation import Message, clean, show_sent
from convgym.customers import CustomerSpec, make_customer
from convgym.customers.base import Customer, Reply, Snapshottable, is_snapshottable
from convgym.customers.concurrently import (
    close_now,
    is_concurrent,
    reset_now,
    reset_soon,
    respond_now,
    respond_soon,
)
from convgym.customers.snapshots import Snapshot, opened
from convgym.customers.together import Answer, Opening, reset_customers, respond_customers
from convgym.errors import ConvgymError, InfrastructureError, unknown
from convgym.policy import Conversation, Policy
from convgym.reasoning import heard
from convgym.sellers import make_seller
from convgym.shop.catalog import Catalog
from convgym.shop.language import tokens

COURTESIES = ("Sure.", "Of course.", "Thank you.")
DRAFTS = 4
"""Messages of its own among which an influenced business chooses."""

_FIRST_SENTENCE = re.compile(r"[^.!?]*[.!?]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Business:
    """What becomes of suggestions: probabilities that add up to 1, and what is liked less.

    Raises ConvgymError for a value that cannot be.
    """

    verbatim: float = 0.60
    edited: float = 0.15
    influenced: float = 0.10
    ignored: float = 0.15
    longest: int = 25
    """Words; longer suggestions are liked less."""
    distaste: float = 0.25
    """What the first two probabilities are multiplied by for a suggestion that is liked less."""

    def __post_init__(self) -> None:
        for field in fields(self):
            check_number(f"a business's {field.name}", getattr(self, field.name))
        ways = (self.verbatim, self.edited, self.influenced, self.ignored)
        if min(ways) < 0 or abs(sum(ways) - 1) > 1e-9:
            raise ConvgymError(
                f"a business's four probabilities must be 0 or more and add up to 1, got {ways}"
            )
        if not 0 <= self.distaste <= 1:
            raise ConvgymError(f"distaste must be in [0, 1], got {self.distaste!r}")
        if self.longest < 1:
            raise ConvgymError(f"longest must be at least 1 word, got {self.longest!r}")

    def probabilities(self, suggestion: str, sent: Sequence[str]) -> dict[str, float]:
        """Return the probability of each way, given what was sent before."""
        liked = len(suggestion.split()) <= self.longest and suggestion not in sent
        factor = 1.0 if liked else self.distaste
        verbatim, edited = factor * self.verbatim, factor * self.edited
        return {
            "verbatim": verbatim,
            "edited": edited,
            "influenced": self.influenced,
            "ignored": 1 - verbatim - edited - self.influenced,
        }


class Speaker(Protocol):
    """The business's own words: what it would say next, given what was really said."""

    def __call__(self, messages: Sequence[Message], rng: random.Random) -> str: ...


SpeakerSpec: TypeAlias = str | Speaker
_Heard = TypeVar("_Heard", bound=Answer)


class _Decided(NamedTuple):
    suggestion: str
    sent: str
    kind: str


class SuggestedResponse:
    """A business and the customer behind it, as one customer.

    What the agent says is a suggestion. The business sends it ``verbatim``, ``edited``, sends one
    of its own messages that was ``influenced`` by it, or has it ``ignored``; the customer hears
    what was sent. ``suggested`` makes one, ``Business`` holds the probabilities.
    """

    def __init__(
        self, inner: Customer, business: Business, speaker: Speaker, speaker_name: str
    ) -> None:
        self.inner, self.business, self._speaker = inner, business, speaker
        self._speaker_name = speaker_name
        self.briefing = getattr(inner, "briefing", "")
        self._rng = random.Random()
        self._messages: list[Message] = []
        self._suggestions: list[dict[str, str]] = []

    @property
    def catalog(self) -> Any:
        """The inner customer's catalogue, None if it has none."""
        return getattr(self.inner, "catalog", None)

    @property
    def fingerprint(self) -> str:
        """Name, version, a hash of the business, and the inner customer's fingerprint."""
        settings = repr((sorted(asdict(self.business).items()), self._speaker_name))
        digest = hashlib.sha256(settings.encode()).hexdigest()[:12]
        return f"suggested-v0:{digest}({self.inner.fingerprint})"

    @property
    def latent(self) -> dict[str, Any]:
        """The inner customer's hidden state."""
        return self.inner.latent

    @property
    def record(self) -> dict[str, Any]:
        """``suggestions``: for every turn the ``suggestion``, what was ``sent``, and ``kind``."""
        inner: Mapping[str, Any] = getattr(self.inner, "record", {})
        return {**inner, "suggestions": [row.copy() for row in self._suggestions]}

    def reset(self, seed: int, profile: Mapping[str, Any] | None = None) -> str:
        """Meet the inner customer drawn from ``seed``, which also seeds the business."""
        self._prepare(seed)
        return self._open(reset_now(self.inner, seed, **_given(profile)))

    def respond(self, utterance: str) -> Reply:
        """Take a suggestion, send something, and return the customer's reply to that."""
        decided = self._decide(utterance)
        return self._hear(decided, respond_now(self.inner, decided.sent))

    @property
    def concurrent(self) -> bool:
        """Whether the inner customer is asked without waiting for it."""
        return is_concurrent(self.inner)

    async def reset_async(self, seed: int, profile: Mapping[str, Any] | None = None) -> str:
        """Do ``reset`` where the inner customer is concurrent."""
        self._prepare(seed)
        return self._open(await reset_soon(self.inner, seed, **_given(profile)))

    async def respond_async(self, utterance: str) -> Reply:
        """Do ``respond`` where the inner customer is concurrent."""
        decided = self._decide(utterance)
        return self._hear(decided, await respond_soon(self.inner, decided.sent))

    @classmethod
    def reset_together(cls, customers: Sequence[Self], seeds: Sequence[int]) -> list[Opening]:
        """Do ``reset`` for each; inner customers that can answer together do."""
        for customer, seed in zip(customers, seeds, strict=True):
            customer._prepare(seed)
        openings = reset_customers([customer.inner for customer in customers], seeds)
        return [
            customer._open(opening) if isinstance(opening, str) else opening
            for customer, opening in zip(customers, openings, strict=True)
        ]

    @classmethod
    def respond_together(cls, customers: Sequence[Self], utterances: Sequence[str]) -> list[Answer]:
        """Do ``respond`` for each; inner customers that can answer together do."""
        results: dict[int, Answer] = {}
        decided: dict[int, _Decided] = {}
        for i, (customer, utterance) in enumerate(zip(customers, utterances, strict=True)):
            try:
                decided[i] = customer._decide(utterance)
            except InfrastructureError as error:  # of this business's own words
                results[i] = error
        inner = [customers[i].inner for i in decided]
        answers = respond_customers(inner, [what.sent for what in decided.values()])
        for (i, what), answer in zip(decided.items(), answers, strict=True):
            results[i] = customers[i]._hear(what, answer)
        return [results[i] for i in range(len(customers))]

    def close(self) -> None:
        """Close the inner customer if it can be closed."""
        close_now(self.inner)

    def _prepare(self, seed: int) -> None:
        self._rng = random.Random(f"business/{seed}")
        self._suggestions = []

    def _open(self, opening: str) -> str:
        self._messages = [{"role": "user", "content": clean(opening)}]
        return opening

    def _decide(self, utterance: str) -> _Decided:
        suggestion = heard(utterance)
        if not suggestion:
            return _Decided(suggestion, self._own_words(), "abstained")
        earlier = [row["sent"] for row in self._suggestions]
        ways = self.business.probabilities(suggestion, earlier)
        (kind,) = self._rng.choices(list(ways), weights=list(ways.values()))
        return _Decided(suggestion, self._send(kind, suggestion), kind)

    def _send(self, kind: str, suggestion: str) -> str:
        """Return what the business sends if it deals with a suggestion in this way."""
        if kind == "verbatim":
            return suggestion
        if kind == "edited":
            first = _FIRST_SENTENCE.match(suggestion)
            return f"{self._rng.choice(COURTESIES)} {first[0] if first else suggestion}"
        if kind == "influenced":
            drafts = [self._own_words() for _ in range(DRAFTS)]
            return max(drafts, key=partial(_overlap, suggestion))
        return self._own_words()

    def _hear(self, decided: _Decided, reply: _Heard) -> _Heard | Reply:
        """Note a turn; return the reply as the agent reads it."""
        if not isinstance(reply, Reply) or not isinstance(reply.text, str):
            return reply  # a failure, or for the environment to complain of
        suggestion, sent, _ = decided
        self._suggestions.append(decided._asdict())
        self._messages += [
            {"role": "assistant", "content": sent},
            {"role": "user", "content": clean(reply.text)},
        ]
        if sent == suggestion:
            return reply
        return Reply(show_sent(sent, reply.text), reply.decision)

    def _own_words(self) -> str:
        return heard(self._speaker(self._messages, self._rng))


class SnapshottableSuggestedResponse(SuggestedResponse):
    """The same round a customer whose state can be copied."""

    inner: Snapshottable

    def snapshot(self) -> object:
        """Return a copy of the whole state, of customer and business."""
        own = (self._rng.getstate(), tuple(self._messages), tuple(self._suggestions))
        return Snapshot("suggested", (self.inner.snapshot(), own))

    def restore(self, state: object, seed: int | None = None) -> None:
        """Go back to a snapshot; with ``seed``, go on with fresh randomness.

        Raises ConvgymError for what is no snapshot of such a customer.
        """
        inner, (randomness, messages, suggestions) = opened(state, "suggested")
        self.inner.restore(inner, seed)
        self._messages, self._suggestions = list(messages), list(suggestions)
        if seed is None:
            self._rng.setstate(randomness)
        else:
            self._rng.seed(f"business/{seed}")


def suggested(
    inner: CustomerSpec = "scripted",
    business: Business | Mapping[str, Any] | None = None,
    speaker: SpeakerSpec = "mediocre",
    catalog: str | Path | Catalog | None = None,
    **options: Any,
) -> SuggestedResponse:
    """Return a customer behind a business that takes suggestions.

    Args:
        inner: the customer itself, as for ``make_customer``.
        business: what becomes of suggestions, or fields of ``Business`` by name.
        speaker: the business's own words: the name of a reference seller, or a callable.
        catalog: the shop of both; None leaves it to the customer.
        **options: of the inner customer.

    Raises:
        ConvgymError: for an unknown name or a value that cannot be.
    """
    if catalog is not None:
        options["catalog"] = catalog
    customer = make_customer(inner, **options)
    name = speaker if isinstance(speaker, str) else getattr(speaker, "__qualname__", repr(speaker))
    if not callable(speaker) and not isinstance(speaker, str):
        raise ConvgymError(f"speaker must be a seller's name or a callable, got {speaker!r}")
    if isinstance(speaker, str):
        shop = catalog or getattr(customer, "catalog", None) or "laptops"
        speaker = _seller(speaker, shop, getattr(customer, "law", None))
    kind = SnapshottableSuggestedResponse if is_snapshottable(customer) else SuggestedResponse
    return kind(customer, _business(business), speaker, name)


def _given(profile: Mapping[str, Any] | None) -> dict[str, Any]:
    return {} if profile is None else {"profile": profile}


def _business(given: Business | Mapping[str, Any] | None) -> Business:
    if isinstance(given, Business):
        return given
    known = Business.__dataclass_fields__
    if given is not None and not isinstance(given, Mapping):
        raise ConvgymError(f"business must be a Business or its fields, got {repr(given)[:60]}")
    for name in given or {}:
        if name not in known:
            raise unknown("field of the business", name, known)
    return Business(**(given or {}))


@dataclass(frozen=True)
class _Seller:
    """The words of a reference seller."""

    policy: Policy

    def __call__(self, messages: Sequence[Message], rng: random.Random) -> str:
        (response,) = self.policy.act([Conversation(0, list(messages), rng)])
        if response.failure is not None:
            raise InfrastructureError(response.failure)
        return response.text


@lru_cache(maxsize=8)
def _seller(name: str, catalog: str | Path | Catalog, law: str | None) -> Speaker:
    return _Seller(make_seller(name, catalog, law))


def _overlap(suggestion: str, draft: str) -> float:
    """Return the share of words that two messages have in common (Jaccard)."""
    a, b = set(tokens(suggestion)), set(tokens(draft))
    return len(a & b) / max(1, len(a | b))
