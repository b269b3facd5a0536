"""The learned customer: a small language model that imitates another customer, and decides itself.

It is what every customer is that a language model plays, an imitation, but one whose original is at
hand. Who comes in is drawn by the original, from the same seeds. What the original feels, the
imitation is not told: it reads who it is, the conversation so far, and the label of what it is
offered (``convgym.customers.label``), and samples whether it buys, leaves or goes on, and its words
(``convgym.agents.customers.format``). How well it does that is measured by ``convgym study
learned-customer``.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self, cast

from convgym.agents.customers.recorded import Original, profile_of
from convgym.agents.customers.voice import Voice, voice
from convgym.agents.model.format import Tokens
from convgym.agents.model.sampling import check_temperature
from convgym.checks import check_number
from convgym.conversation import Message
from convgym.customers import make_customer
from convgym.customers.base import Reply
from convgym.customers.label import offered, read_label
from convgym.customers.noted import observed
from convgym.customers.personas import Personas
from convgym.customers.snapshots import Snapshot, opened
from convgym.errors import ConvgymError, InfrastructureError
from convgym.llm.local.devices import Dtype
from convgym.reasoning import heard
from convgym.shop.catalog import Catalog, Product
from convgym.shop.terms import LAW

VERSION = 1
"""Raised with every change of behaviour that the weights do not show."""


@dataclass(slots=True)
class Talk:
    """The present conversation: who the customer is, what was said, its random stream.

    ``product`` is the one under discussion.
    """

    profile: Mapping[str, Any]
    rng: random.Random
    who: Tokens
    turns: tuple[Tokens, ...] = ()
    messages: tuple[Message, ...] = ()
    product: Product | None = None


class LearnedCustomer:
    """A small language model that imitates another customer: its words and its decisions.

    Equal seeds give the profiles that they give of the original. A conversation has a stream of
    random numbers of its own: what is said in it does not depend on which others are held beside
    it. The shipped model imitates the customer of ``convgym/Sales-v0`` in the laptop shop.

    Args:
        catalog: the shop that it was fitted in; None is that.
        persona: the name of one of the personas, or None to draw one per episode.
        patience: turns until the customer leaves, or None to draw it with the persona.
        personas: the kinds of customers that come in, none that it was not fitted to.
        model: ``"default"``, the model of the package, or a folder that ``convgym pretrain DIR
            --kind customer`` wrote.
        temperature: of sampling, positive; 1 is the distribution that was fitted.
        device: ``cpu``, ``cuda``, ``cuda:1``, ``mps``, or ``auto``: a GPU where one is visible.
        dtype: ``float32``; ``bfloat16``, with which a chat model takes half the time and memory
            where the device has instructions for it, but with equal seeds what is said hangs on who
            is asked together; or ``auto``: bfloat16 where there are such instructions.

    Raises:
        ConvgymError: for a model that cannot be read, another shop or law than it was fitted to,
            or a value that cannot be.
    """

    law: ClassVar[str | None] = None
    """By which law the customers buy that it imitates."""
    shipped: ClassVar[str] = "default"
    """The model that is meant by ``"default"``."""
    fitted_by: ClassVar[str] = ""
    """Options of ``convgym pretrain DIR --kind customer`` by which such a model is made."""

    def __init__(
        self,
        catalog: str | Path | Catalog | None = None,
        persona: str | None = None,
        patience: float | None = None,
        personas: str | Path | Personas = "default",
        *,
        model: str | Path = "default",
        temperature: float = 1.0,
        device: str = "cpu",
        dtype: Dtype = "float32",
    ) -> None:
        check_temperature(check_number("temperature", temperature))
        name = self.shipped if str(model) == "default" else str(model)
        self._key = (name, float(temperature), device, dtype)
        recipe = self._voice.recipe
        if recipe.get("law") != self.law:
            raise ConvgymError(
                f"the model {str(model)!r} imitates {recipe['customer']!r}: use"
                f" {'LearnedShopper' if self.law is None else 'LearnedCustomer'} for it"
            )
        options = {"persona": persona, "patience": patience, "personas": personas}
        drawn_by = make_customer(
            recipe["customer"], catalog=catalog or recipe["catalog"], **options
        )
        self._original = cast("Original", drawn_by)
        self.catalog: Catalog = drawn_by.catalog  # type: ignore[attr-defined]
        self.personas: Personas = drawn_by.personas  # type: ignore[attr-defined]
        self.briefing: str = drawn_by.briefing  # type: ignore[attr-defined]
        if self.catalog.inventory() != recipe["leaflet"]:
            raise ConvgymError(
                f"the model {str(model)!r} knows the shop {recipe['catalog']!r} by heart, and not"
                f" {self.catalog.name!r}: {self._advice}"
            )
        for name in self.personas.personas:
            self._voice.format.profile({"persona": name})  # raises for one that is unknown
        self._talk: Talk | None = None

    @property
    def _advice(self) -> str:
        """What to do for another shop."""
        if self.catalog.held_out:
            return "that is reserved for evaluation, and no customer is fitted to it"
        command = " ".join(filter(None, ("convgym pretrain DIR --kind customer", self.fitted_by)))
        return f"fit another with `{command} --catalog ...`"

    @property
    def _voice(self) -> Voice:
        # By name: what is copied and sent to other processes holds no model.
        return voice(*self._key)

    @property
    def batch_size(self) -> int:
        """How many conversations memory holds at once."""
        return self._voice.batch_size

    @property
    def fingerprint(self) -> str:
        """Name, version, hash of weights, temperature and precision, and who it imitates."""
        return f"learned-v{VERSION}:{self._voice.digest}({self._original.fingerprint})"

    @property
    def talk(self) -> Talk:
        """The present conversation."""
        if self._talk is None:
            raise ConvgymError("there is no conversation yet: call reset(seed) first")
        return self._talk

    @property
    def _left(self) -> float:
        """The patience that is left, as far as turns alone use it up."""
        patience: float = self.talk.profile["patience"]
        return patience - len(self.talk.turns)

    @property
    def latent(self) -> dict[str, Any]:
        """The profile, and what an observer would note of the conversation; empty before a reset.

        The model keeps no books: ``disclosed``, ``product`` and the objections are read off the
        words, and ``patience_left`` counts turns alone.
        """
        if self._talk is None:
            return {}
        talk = self._talk
        turn = len(talk.turns)
        return observed(talk.profile, talk.messages, turn, self.catalog, self.personas, self.law)

    def reset(self, seed: int, profile: Mapping[str, Any] | None = None) -> str:
        """Become the customer that the original is with this seed, and return its opening words.

        Args:
            seed: everything random follows from it.
            profile: fields of the original's profile to fix; the others are drawn.

        Raises:
            ConvgymError: for a field that is unknown or a value that it cannot have.
        """
        self._begin(seed, profile)
        return self._open([self])[0]

    def respond(self, utterance: str) -> Reply:
        """Answer the seller's utterance."""
        return self._answer([self], [utterance])[0]

    @classmethod
    def reset_together(
        cls, customers: Sequence[Self], seeds: Sequence[int]
    ) -> list[str | InfrastructureError]:
        """Do ``reset`` for each, those of one model in one pass."""
        for customer, seed in zip(customers, seeds, strict=True):
            customer._begin(seed)
        return [*cls._open(customers)]

    @classmethod
    def respond_together(
        cls, customers: Sequence[Self], utterances: Sequence[str]
    ) -> list[Reply | InfrastructureError]:
        """Do ``respond`` for each, those of one model in one pass."""
        return [*cls._answer(customers, utterances)]

    @property
    def _owner(self) -> str:
        """Whose snapshots these are."""
        return f"learned {self._key[0]}"

    def snapshot(self) -> object:
        """Return a copy of the whole state, randomness included."""
        talk = self.talk
        randomness = talk.rng.getstate()
        state = talk.profile, talk.who, talk.turns, talk.messages, talk.product, randomness
        return Snapshot(self._owner, state)

    def restore(self, state: object, seed: int | None = None) -> None:
        """Go back to a snapshot; with ``seed``, go on with fresh randomness.

        Raises ConvgymError for what is no snapshot of such a customer.
        """
        profile, who, turns, messages, product, randomness = opened(state, self._owner)
        rng = random.Random(None if seed is None else f"learned/branch/{seed}")
        if seed is None:
            rng.setstate(randomness)
        self._talk = Talk(profile, rng, who, turns, messages, product)

    def _begin(self, seed: int, profile: Mapping[str, Any] | None = None) -> None:
        self._original.reset(seed, profile)
        drawn = profile_of(self._original)
        who = self._voice.format.profile(drawn)
        self._talk = Talk(drawn, random.Random(f"learned/{seed}"), who)

    @classmethod
    def _open(cls, customers: Sequence[Self]) -> list[str]:
        openings = []
        for customer, ids in zip(customers, _say(customers, [()] * len(customers)), strict=True):
            talk = customer.talk
            text = customer._voice.format.read(ids).text
            talk.who += ids
            talk.messages = ({"role": "user", "content": text},)
            openings.append(text)
        return openings

    @classmethod
    def _answer(cls, customers: Sequence[Self], utterances: Sequence[str]) -> list[Reply]:
        said = [heard(utterance) for utterance in utterances]
        products = [
            offered(customer.catalog, words, customer.talk.product)
            for customer, words in zip(customers, said, strict=True)
        ]
        blocks = [
            customer._voice.format.heard(
                words, customer._left, read_label(customer.talk.profile, product)
            )
            for customer, words, product in zip(customers, said, products, strict=True)
        ]
        replies = []
        for customer, words, product, block, ids in zip(
            customers, said, products, blocks, _say(customers, blocks), strict=True
        ):
            talk = customer.talk
            talk.product = product
            reply = customer._voice.format.read(ids)
            talk.turns = (*talk.turns, block + ids)
            talk.messages = (
                *talk.messages,
                {"role": "assistant", "content": words},
                {"role": "user", "content": reply.text},
            )
            replies.append(reply)
        return replies


class LearnedShopper(LearnedCustomer):
    """A small language model that imitates the shopper of ``convgym/Sales-v1``.

    None is shipped: ``convgym pretrain DIR --kind customer --customer shopper`` fits one, which
    ``model`` names. All else is as for ``LearnedCustomer``.
    """

    law: ClassVar[str | None] = LAW
    fitted_by: ClassVar[str] = "--customer shopper"


class SmolLM2Customer(LearnedShopper):
    """SmolLM2-135M with adapters, fitted to the shopper of ``convgym/Sales-v1``.

    ``model`` is the adapters of the package, or a folder that ``convgym pretrain DIR --kind
    customer --base smollm2`` or ``convgym models merge`` wrote. All else is as for
    ``LearnedCustomer``.
    """

    shipped: ClassVar[str] = "smollm2-shopper"
    fitted_by: ClassVar[str] = "--base smollm2"


def _say(customers: Sequence[LearnedCustomer], blocks: Sequence[Tokens]) -> list[Tokens]:
    """Return the ids of the next words of each customer after a block of the seller's."""
    by_voice: dict[Voice, list[int]] = {}
    for i, customer in enumerate(customers):
        by_voice.setdefault(customer._voice, []).append(i)
    said: list[Tokens] = [()] * len(customers)
    for speaker, members in by_voice.items():
        talks = [customers[i].talk for i in members]
        prompts = [
            speaker.prompt(talk.who, talk.turns, blocks[i])
            for talk, i in zip(talks, members, strict=True)
        ]
        replies = speaker.reply(prompts, [talk.rng for talk in talks])
        for i, ids in zip(members, replies, strict=True):
            said[i] = ids
    return said
