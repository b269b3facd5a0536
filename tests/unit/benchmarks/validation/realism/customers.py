"""Customers with one fault each, that realism is to find."""

from __future__ import annotations

from typing import Any, ClassVar

from convgym.customers import Decision, Reply
from convgym.customers.scripted.customer import ScriptedCustomer
from convgym.errors import InfrastructureError


class Drifter(ScriptedCustomer):
    """Imitates the scripted customer, but never walks away: it asks for the price instead."""

    def respond(self, utterance: str) -> Reply:
        reply = super().respond(utterance)
        if reply.decision is Decision.LEAVE:
            return Reply("Hm, that sounds good. How much is it?")
        return reply


class Forgetful(ScriptedCustomer):
    """Says another budget whenever it is asked."""

    def respond(self, utterance: str) -> Reply:
        reply = super().respond(utterance)
        if "$" in reply.text and reply.decision is Decision.CONTINUE:
            self.times = getattr(self, "times", 0) + 1
            return Reply(f"About ${1000 * (1 + self.times % 3)}.")
        return reply


class Stranger:
    """Shows no hidden state and takes no profile."""

    fingerprint = "stranger"
    latent: ClassVar[dict[str, Any]] = {}

    def reset(self, seed: int) -> str:
        self.turns = seed % 3
        return "Hello, I need a laptop."

    def respond(self, utterance: str) -> Reply:
        self.turns += 1
        if self.turns > 4:
            return Reply("I have to go, bye.", Decision.LEAVE)
        return Reply("I am not sure about that.")


class Broken(Stranger):
    """Its backend fails."""

    def respond(self, utterance: str) -> Reply:
        raise InfrastructureError("no connection to the model")
