"""What a customer is: the protocol that every simulator implements."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol, Self, runtime_checkable

from convgym.errors import InfrastructureError


class Decision(StrEnum):
    """What the customer does after a seller's utterance."""

    CONTINUE = "continue"
    BUY = "buy"
    LEAVE = "leave"


@dataclass(frozen=True, slots=True)
class Reply:
    """The customer's words and decision."""

    text: str
    decision: Decision = Decision.CONTINUE


@runtime_checkable
class Customer(Protocol):
    """One simulated customer, used again for every episode after a ``reset``."""

    @property
    def fingerprint(self) -> str:
        """Name, version and settings; logs made with equal fingerprints are comparable."""

    @property
    def latent(self) -> dict[str, Any]:
        """The hidden state as plain data; only shown to those who ask for it."""

    def reset(self, seed: int) -> str:
        """Become a new customer, drawn from ``seed`` alone, and return the opening utterance."""

    def respond(self, utterance: str) -> Reply:
        """Answer the seller's utterance. Raises InfrastructureError if the backend fails."""


@runtime_checkable
class AsyncCustomer(Protocol):
    """A customer that waits for something: ``Customer`` with coroutines.

    Rollouts go on with whoever has answered. All coroutines of a process run in one event loop, in
    a thread of its own, so that clients of the network may be shared; one that computes or blocks
    keeps the others waiting, and belongs into threads (``convgym.customers.threaded``).
    """

    @property
    def fingerprint(self) -> str:
        """As ``Customer``'s."""

    @property
    def latent(self) -> dict[str, Any]:
        """As ``Customer``'s."""

    async def reset(self, seed: int) -> str:
        """Become a new customer, drawn from ``seed`` alone, and return the opening utterance."""

    async def respond(self, utterance: str) -> Reply:
        """Answer the seller's utterance. Raises InfrastructureError if the backend fails."""


@runtime_checkable
class Concurrent(Customer, Protocol):
    """A customer that can be asked in both ways, as ``Customer`` and as ``AsyncCustomer``."""

    @property
    def concurrent(self) -> bool:
        """Whether the coroutines are worth anything: what is inside waits, and does not compute."""

    async def reset_async(self, seed: int) -> str:
        """Do ``reset``."""

    async def respond_async(self, utterance: str) -> Reply:
        """Do ``respond``."""


@runtime_checkable
class Snapshottable(Customer, Protocol):
    """A customer whose whole state can be copied, so that true values can be branched."""

    def snapshot(self) -> object:
        """Return an opaque, picklable copy of the whole state, randomness included."""

    def restore(self, state: object, seed: int | None = None) -> None:
        """Go back to ``state``; with ``seed``, go on from there with fresh randomness."""


def is_snapshottable(customer: Customer) -> bool:
    """Return whether ``customer`` follows ``Snapshottable``."""
    # Of the class: before the first reset a property may not be readable on the object.
    kind = type(customer)
    return hasattr(kind, "snapshot") and hasattr(kind, "restore")


@runtime_checkable
class Batched(Customer, Protocol):
    """A customer whose copies answer together, such as those that speak through one chat model.

    Environments and rollouts then ask all conversations at once that are due, which may be in
    any order and number; answers must not depend on who else is asked. A customer with an attribute
    ``batch_size`` is asked in rollouts for no more than so many conversations at once, unless the
    caller says how many: one that a model plays keeps what was read of every conversation.
    """

    @classmethod
    def reset_together(
        cls, customers: Sequence[Self], seeds: Sequence[int]
    ) -> list[str | InfrastructureError]:
        """Do ``reset`` for each; a customer that fails has its InfrastructureError in the list."""

    @classmethod
    def respond_together(
        cls, customers: Sequence[Self], utterances: Sequence[str]
    ) -> list[Reply | InfrastructureError]:
        """Do ``respond`` for each; a customer that fails has its error in the list."""
