"""A customer that a chat model plays which was fitted to it, behind any server.

The model is told who it is, and hears the seller; it answers with a decision and words
(``convgym.customers.llm.decision_first``). A model for it is what ``convgym models merge`` writes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

from convgym.conversation import Message
from convgym.customers.base import Reply
from convgym.customers.label import offered, read_label
from convgym.customers.llm import decision_first
from convgym.customers.llm.chat_customer import ChatCustomer
from convgym.customers.llm.exchange import Exchange, answer_of, call_seed
from convgym.customers.llm.parsing import UnreadableAnswer
from convgym.customers.noted import observed
from convgym.customers.personas import Personas
from convgym.customers.shopper.customer import ShopperCustomer
from convgym.customers.snapshots import Snapshot, opened
from convgym.errors import ConvgymError, InfrastructureError
from convgym.llm import ChatBackend, ChatRequest
from convgym.llm.base import ChatMessage, check_sampling
from convgym.reasoning import heard
from convgym.shop.catalog import Catalog, Product
from convgym.shop.terms import LAW

VERSION = 1
"""Raised with every change of behaviour that the model's fingerprint does not show."""


@dataclass(frozen=True, slots=True)
class Talk:
    """A conversation: whom the model plays, what it was sent and has answered, and what was said.

    ``stream`` names the randomness, ``chat`` begins with the system message, ``product`` is under
    discussion.
    """

    profile: Mapping[str, Any]
    stream: str
    chat: tuple[ChatMessage, ...]
    messages: tuple[Message, ...] = ()
    turn: int = 0
    product: Product | None = None


class FittedCustomer(ChatCustomer):
    """A chat model that was fitted to the shopper of ``convgym/Sales-v1`` plays it.

    Equal seeds give the profiles that they give of the shopper. The model decides and speaks. An
    answer that begins with no decision is asked for again, ``repairs`` times a turn; then the
    customer has failed (``InfrastructureError``).

    Args:
        catalog: a catalogue's name, JSON file or object: the shop that the model was fitted in.
        persona: the name of one of the personas, or None to draw one per episode.
        patience: turns until the customer leaves, or None to draw it with the persona.
        personas: the kinds of customers that come in.
        backend: the chat model: a name that ``convgym.llm.make_backend`` knows, or an object.
        temperature: of sampling; 1 is the distribution that was fitted. Servers that leave out
            unlikely words unless they are told not to are told by ``extra_body``.
        max_tokens: the longest answer.
        repairs: how often an unreadable answer is asked for again in one turn.
        **backend_options: as for ``make_backend``, if the backend is given by name: ``model``,
            ``base_url``, ``record`` and so on.

    Raises:
        ConvgymError: for a name that is unknown or a value that cannot be.
    """

    law: ClassVar[str] = LAW
    """By which law the customers buy that it imitates."""

    def __init__(
        self,
        catalog: str | Path | Catalog = "laptops",
        persona: str | None = None,
        patience: float | None = None,
        personas: str | Path | Personas = "default",
        *,
        backend: str | ChatBackend = "openai",
        temperature: float = 1.0,
        max_tokens: int = 64,
        repairs: int = 2,
        **backend_options: Any,
    ) -> None:
        check_sampling(temperature, max_tokens, repairs=repairs)
        self._original = ShopperCustomer(catalog, persona, patience, personas)
        self.catalog, self.briefing = self._original.catalog, self._original.briefing
        super().__init__(backend, backend_options)
        self._temperature, self._max_tokens, self._repairs = temperature, max_tokens, repairs
        self._talk: Talk | None = None

    @property
    def fingerprint(self) -> str:
        """Name, version, a hash of the settings, who is imitated, and the model's fingerprint."""
        settings = json.dumps([self._temperature, self._max_tokens, self._repairs])
        digest = hashlib.sha256(settings.encode()).hexdigest()[:12]
        original = self._original.fingerprint
        return f"llm-fitted-v{VERSION}:{digest}({original}, {self.backend.fingerprint})"

    @property
    def talk(self) -> Talk:
        """The present conversation."""
        if self._talk is None:
            raise ConvgymError("there is no conversation yet: call reset(seed) first")
        return self._talk

    @property
    def latent(self) -> dict[str, Any]:
        """The profile, and what an observer would note of the words; empty before a reset."""
        if self._talk is None:
            return {}
        talk, personas = self._talk, self._original.personas
        return observed(talk.profile, talk.messages, talk.turn, self.catalog, personas, self.law)

    @property
    def _owner(self) -> str:
        """Whose snapshots these are."""
        return f"llm-fitted {self.catalog.name}"

    def snapshot(self) -> object:
        """Return a copy of the whole state."""
        return Snapshot(self._owner, self.talk)

    def restore(self, state: object, seed: int | None = None) -> None:
        """Go back to a snapshot; with ``seed``, the model goes on with fresh randomness.

        Raises ConvgymError for what is no snapshot of such a customer.
        """
        talk: Talk = opened(state, self._owner)
        self._talk = talk if seed is None else replace(talk, stream=f"fitted/branch/{seed}")

    def _open(self, seed: int, profile: Mapping[str, Any] | None = None) -> Exchange[str]:
        self._original.reset(seed, profile)
        drawn = asdict(self._original.profile)
        who = decision_first.who(drawn, self.catalog.currency)
        talk = Talk(drawn, f"fitted/{seed}", ({"role": "system", "content": who},))
        reply = yield from self._ask(talk)
        self._talk = replace(
            talk,
            chat=(*talk.chat, _written(Reply(reply.text))),
            messages=({"role": "user", "content": reply.text},),
        )
        return reply.text

    def _hear(self, utterance: str) -> Exchange[Reply]:
        talk = self.talk
        words = heard(utterance)
        product = offered(self.catalog, words, talk.product)
        told = decision_first.told(
            words, talk.profile["patience"] - talk.turn, read_label(talk.profile, product)
        )
        asked = replace(
            talk,
            chat=(*talk.chat, {"role": "user", "content": told}),
            turn=talk.turn + 1,
            product=product,
        )
        reply = yield from self._ask(asked)
        # Only now: a turn in which the model fails leaves the customer as it was.
        self._talk = replace(
            asked,
            chat=(*asked.chat, _written(reply)),
            messages=(
                *talk.messages,
                {"role": "assistant", "content": words},
                {"role": "user", "content": reply.text},
            ),
        )
        return reply

    def _ask(self, talk: Talk) -> Exchange[Reply]:
        """Ask the model until its answer can be read, or there are no repairs left."""
        problem = ""
        for attempt in range(self._repairs + 1):
            result = yield ChatRequest(
                talk.chat,
                call_seed(talk.stream, talk.turn, attempt),
                self._max_tokens,
                self._temperature,
            )
            try:
                return decision_first.read(answer_of(result).text)
            except UnreadableAnswer as error:
                problem = str(error)
        raise InfrastructureError(
            f"the model gave no readable answer in {self._repairs + 1} attempts: {problem}; is it"
            " one that `convgym models merge` has written?"
        )


def _written(reply: Reply) -> ChatMessage:
    return {"role": "assistant", "content": decision_first.answer(reply)}
