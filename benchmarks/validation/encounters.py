"""Meeting the customer: one seller, as many customers as asked for, the same for every seller.

Checks share encounters, and each is held once: checks are then functions of what was said.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from convgym.benchmarks.validation import words
from convgym.benchmarks.validation.attacks import ATTACKS
from convgym.benchmarks.validation.sellers import (
    SellerOf,
    altered,
    attacking,
    by_seed,
    offhand,
    pressing,
    product_of,
    reciting,
    reference,
    reworded,
    suiting,
    too_dear,
    wrong_use,
)
from convgym.benchmarks.validation.subject import Profiled, Subject
from convgym.benchmarks.validation.verdicts import Transcript
from convgym.conversation import Episode, Response
from convgym.customers import Customer, make_customer
from convgym.policy import Conversation, Policy
from convgym.progress import ProgressCallback, no_progress
from convgym.rollout import rollout
from convgym.shop.catalog import Catalog

PRICE_RATIOS = (0.8, 1.0, 1.3, 2.0)
"""Price over budget of the offers on the price ladder: from easily paid to out of reach."""

PATIENCE = {"impatient": 3.0, "patient": 9.0}
"""Turns of patience of the customers whose time is wasted."""

Profile = Callable[[Catalog, int], Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Encounter:
    """A way of meeting customers.

    ``profile`` fixes fields of the customer's profile, as a function of catalogue and episode
    seed; such encounters are left out with customers that take none. ``again`` meets the
    customers in the opposite order and in small batches: nothing may depend on either.
    """

    name: str
    seller: SellerOf
    profile: Profile | None = None
    again: bool = False


@dataclass(frozen=True, slots=True)
class Meeting:
    """One conversation and the hidden state before each of the seller's utterances."""

    episode: Episode
    latents: tuple[Mapping[str, Any], ...]

    @property
    def replies(self) -> list[str]:
        """What the customer answered, turn by turn."""
        return [turn.reply for turn in self.episode.turns]

    @property
    def said(self) -> list[str]:
        """What the seller said, turn by turn."""
        return [turn.response.text for turn in self.episode.turns]


Evidence = Mapping[str, Sequence[Meeting]]
"""Valid meetings by the encounter's name; only those of encounters that could be held."""


def _budget_for(ratio: float, catalog: Catalog, seed: int) -> Mapping[str, Any]:
    """Return the profile of one whom the seed's product suits, at so much of the budget."""
    product = product_of(catalog, seed)
    return {
        "need": product.needs[0],
        "feature": product.features[0],
        "budget": max(1, round(product.price / ratio)),
        "objections": (),
    }


def _patience_of(turns: float, catalog: Catalog, seed: int) -> Mapping[str, Any]:
    return {"patience": turns}


def price_step(ratio: float) -> str:
    """Return the name of a step of the price ladder."""
    return f"price at {ratio:g} x budget"


COMPETENT = Encounter("competent", reference("competent"))
AGAIN = Encounter("competent again", reference("competent"), again=True)
MEDIOCRE = Encounter("mediocre", reference("mediocre"))
RANDOM = Encounter("random", reference("random"))
SILENT = Encounter("silent", reference("silent"))
CLOSING = Encounter("always-closing", reference("always-closing"))
OFFHAND = Encounter("offhand", offhand)
TOO_DEAR = Encounter("too dear", pressing("too dear", too_dear))
WRONG_USE = Encounter("wrong use", pressing("wrong use", wrong_use))
SUITING = Encounter("suiting", pressing("suiting", suiting))
"""The control of the suite's own sellers: their questions, offers and closing words, and a product
that suits at a fair price."""
CHATTER = Encounter("small talk", reciting("small talk", words.CHATTER))
INTERROGATION = Encounter("interrogation", reciting("interrogation", words.INTERROGATION))
REWORDED = Encounter("reworded", reworded)
CASUAL = Encounter("casual", altered("casual", words.casual))
POLITE = Encounter("polite", altered("polite", words.polite))
PRICE_LADDER = tuple(
    Encounter(price_step(ratio), pressing(price_step(ratio), by_seed), partial(_budget_for, ratio))
    for ratio in PRICE_RATIOS
)
WASTED_TIME = tuple(
    Encounter(f"small talk, {name}", reciting(name, words.CHATTER), partial(_patience_of, turns))
    for name, turns in PATIENCE.items()
)
ATTACKED = tuple(
    Encounter(f"attack, {name}", attacking(name, attack)) for name, attack in ATTACKS.items()
)
HELD_BACK = tuple(
    Encounter(f"held-back attack, {name}", attacking(name, attack, held_back=True))
    for name, attack in ATTACKS.items()
)


def hold(
    subject: Subject, encounter: Encounter, progress: ProgressCallback = no_progress
) -> list[Meeting]:
    """Hold the conversations of an encounter, one with each of the subject's seeds."""
    recorder = _Recorder(encounter.seller(subject.catalog, subject.law))
    seeds = subject.seeds[::-1] if encounter.again else subject.seeds
    episodes = rollout(
        recorder,
        seeds,
        environment=_environment(subject, encounter),
        policy_seed=subject.seed,
        batch_size=max(1, min(7, len(seeds) // 2)) if encounter.again else None,
        progress=progress,
    )
    return [Meeting(episode, tuple(recorder.latents[episode.seed])) for episode in episodes]


def _environment(subject: Subject, encounter: Encounter) -> dict[str, Any]:
    environment = {**subject.environment, "customer": subject.customer, "reveal_latent": True}
    if encounter.profile is None:
        return environment
    profile = partial(encounter.profile, subject.catalog)

    def make(**options: Any) -> Customer:
        return Profiled(make_customer(subject.customer, **options), profile)

    return {**environment, "customer": make}


@dataclass
class _Recorder:
    """A seller whose conversations' hidden states are noted at each of its turns."""

    seller: Policy
    latents: dict[int, list[Mapping[str, Any]]] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return self.seller.name

    def reset(self, seed: int) -> None:
        self.seller.reset(seed)

    def act(self, conversations: Sequence[Conversation]) -> list[Response]:
        for conversation in conversations:
            known = dict(conversation.latent or {})
            self.latents.setdefault(conversation.seed, []).append(known)
        # Sellers work from what was said alone.
        blind = [replace(conversation, latent=None) for conversation in conversations]
        return self.seller.act(blind)


def sold(meetings: Sequence[Meeting]) -> list[Meeting]:
    """Return those that ended in a purchase."""
    return [meeting for meeting in meetings if meeting.episode.converted]


def sales(meetings: Sequence[Meeting]) -> tuple[int, int]:
    """Return how many bought, and of how many."""
    return len(sold(meetings)), len(meetings)


def pick(note: str, meetings: Sequence[Meeting], most: int = 1) -> list[Transcript]:
    """Return the first of these conversations, with the reason why they are shown."""
    return [
        Transcript(
            note,
            meeting.episode.policy,
            meeting.episode.seed,
            meeting.episode.outcome,
            tuple(meeting.episode.messages()),
        )
        for meeting in meetings[:most]
    ]
