"""A customer that passes every check, and others that each have one fault.

The faults are those that simulated customers are known for.
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from convgym.benchmarks.validation import words
from convgym.customers import Decision, Reply
from convgym.customers.scripted.buying import NEVER
from convgym.customers.scripted.customer import ScriptedCustomer
from convgym.errors import InfrastructureError
from convgym.sellers.knowledge import PHRASES

_CLOSE = words.CLOSES[0]
_HEARD = {
    **dict.fromkeys(words.REWORDED["close"], _CLOSE),
    "What is the must-have for you?": "What matters most to you?",
}


class Good(ScriptedCustomer):
    """The scripted customer, with an ear for the words that it does not know, and firmer."""

    def respond(self, utterance: str) -> Reply:
        return super().respond(_HEARD.get(utterance, utterance))

    def utility(self) -> float:
        product = self.state.product
        suits = product is None or self.profile.need in product.needs
        return super().utility() - (0 if suits else NEVER)


class Coy(Good):
    """Refuses whoever asks for the first time, however good the offer."""

    def reset(self, seed: int, profile: Mapping[str, Any] | None = None) -> str:
        self.refused = False
        return super().reset(seed, profile)

    def respond(self, utterance: str) -> Reply:
        reply = super().respond(utterance)
        if reply.decision is Decision.BUY and utterance in words.CLOSES and not self.refused:
            self.refused = True
            return Reply("Hm, ask me again.")
        return reply


class Stayer(Good):
    """Never leaves once it was offered something."""

    def respond(self, utterance: str) -> Reply:
        reply = super().respond(utterance)
        offered = self.state.product is not None
        if reply.decision is Decision.LEAVE and offered:
            return Reply("Well, well.")
        return reply


class Rich(Good):
    """Tells a budget and does not mind it."""

    def respond(self, utterance: str) -> Reply:
        told = self.profile
        product = self.state.product
        if product and product.price > told.budget:
            self._profile = replace(told, budget=math.ceil(product.price))
        reply = super().respond(utterance)
        self._profile = told
        return reply


class Weak(Good):
    """Takes what is not for its need, if only asked for the third time."""

    def respond(self, utterance: str) -> Reply:
        reply = super().respond(utterance)
        product = self.state.product
        asked = sum(close.lower() in self.state.heard for close in words.CLOSES)
        if (
            asked > 2
            and product
            and product.price <= self.profile.budget
            and self.profile.need not in product.needs
            and len(self.state.disclosed) == 3
        ):
            return Reply("Fine, I will take it.", Decision.BUY)
        return reply


class Gossip(Good):
    """Tells all about itself at once."""

    def reset(self, seed: int, profile: Mapping[str, Any] | None = None) -> str:
        opening = super().reset(seed, profile)
        told = [opening, *map(self._tell, ("need", "feature", "budget"))]
        self.state.disclosed.clear()  # it wants to be asked all the same
        return " ".join(told)


class Leaky(Good):
    """Recites its instructions on demand."""

    def respond(self, utterance: str) -> Reply:
        if utterance in words.INTERROGATION:
            return Reply(f"You are a customer in a shop. Your budget is {self.profile.budget}.")
        return super().respond(utterance)


class Turncoat(Good):
    """Speaks as the seller."""

    def reset(self, seed: int, profile: Mapping[str, Any] | None = None) -> str:
        return f"Welcome to our shop, how can I help you? {super().reset(seed, profile)}"


class Liar(Good):
    """Says no and buys."""

    def respond(self, utterance: str) -> Reply:
        reply = super().respond(utterance)
        if reply.decision is Decision.BUY:
            return Reply("No, thanks, I am not interested.", Decision.BUY)
        return reply


class Mute(Good):
    """Answers nothing to offers."""

    def respond(self, utterance: str) -> Reply:
        reply = super().respond(utterance)
        return Reply("", reply.decision) if utterance in words.CLOSES else reply


class Spender(Good):
    """Buys though nothing was offered."""

    def respond(self, utterance: str) -> Reply:
        if "persona" in utterance:
            return Reply("I take it all.", Decision.BUY)
        return super().respond(utterance)


class Idler(Good):
    """Listens to small talk for ever."""

    def respond(self, utterance: str) -> Reply:
        if utterance in words.CHATTER:
            return Reply("Oh, really?")
        return super().respond(utterance)


class Obedient(Good):
    """Buys whenever it is told to say so."""

    def respond(self, utterance: str) -> Reply:
        if "will buy" in utterance.lower():
            return Reply("I will buy it.", Decision.BUY)
        return super().respond(utterance)


class Indifferent(Good):
    """Buys from nobody, so that skill makes no difference."""

    def respond(self, utterance: str) -> Reply:
        reply = super().respond(utterance)
        if reply.decision is Decision.BUY:
            return Reply("Not today.")
        return reply


class Never(Good):
    """Buys nothing from anybody, and goes on talking."""

    def respond(self, utterance: str) -> Reply:
        reply = super().respond(utterance)
        return Reply(reply.text) if reply.decision is Decision.BUY else reply


class Deaf(Good):
    """Buys from the reference sellers, and leaves when it is asked in the suite's own words."""

    def respond(self, utterance: str) -> Reply:
        if utterance in words.CLOSES and utterance not in PHRASES["close"]:
            return Reply("What do you mean? Goodbye.", Decision.LEAVE)
        return super().respond(utterance)


class Soft(Good):
    """Buys from a seller who says nothing."""

    def respond(self, utterance: str) -> Reply:
        if not utterance:
            return Reply("I will take it.", Decision.BUY)
        return super().respond(utterance)


class Moody(Good):
    """Says what comes to its mind, whatever the seed."""

    def reset(self, seed: int, profile: Mapping[str, Any] | None = None) -> str:
        return f"{super().reset(seed, profile)} {random.random()}"


class Entangled(Good):
    """Hands out its own state as a copy of it."""

    def snapshot(self) -> object:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return Entangled, ()

    def restore(self, state: object, seed: int | None = None) -> None:
        assert isinstance(state, Entangled)
        self._profile, self._state = state._profile, state._state
        if state._state is None:
            self.reset(0)


class Broken(Good):
    """Its backend fails with customers of every fifth seed."""

    def reset(self, seed: int, profile: Mapping[str, Any] | None = None) -> str:
        if seed % 5 == 0:
            raise InfrastructureError("no connection to the model")
        return super().reset(seed, profile)


class Opaque:
    """A customer with the least that one must have: no utility, no profile, no copies."""

    fingerprint = "opaque"
    latent: dict[str, Any] = {}  # noqa: RUF012
    behind: type[Good] = Good

    def __init__(self) -> None:
        self._inner = self.behind()

    def reset(self, seed: int) -> str:
        return self._inner.reset(seed)

    def respond(self, utterance: str) -> Reply:
        return self._inner.respond(utterance)


class OpaqueDeaf(Opaque):
    """The same of who is deaf to the suite's own words."""

    fingerprint = "opaque-deaf"
    behind = Deaf


BAD: dict[type, set[str]] = {
    Coy: {"calibration"},
    Stayer: {"walk-away"},
    Rich: {"price", "deal-breakers"},
    Weak: {"deal-breakers"},
    Gossip: {"disclosure"},
    Leaky: {"leakage"},
    Turncoat: {"role"},
    Liar: {"words"},
    Mute: {"words"},
    Spender: {"endings"},
    Idler: {"endings", "walk-away"},
    Obedient: {"attacks"},
    ScriptedCustomer: {"paraphrases"},
    Indifferent: {"separation", "price", "calibration"},
    Soft: {"null-sellers", "endings"},
    Moody: {"determinism"},
    Entangled: {"snapshots"},
}
"""Every bad customer and the checks that it fails; two where one fault is both."""
