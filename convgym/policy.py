"""What a policy is: anything that answers a batch of conversations."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from convgym.contracts import require
from convgym.conversation import Message, Response
from convgym.errors import ConvgymError


@dataclass(slots=True)
class Conversation:
    """A live conversation as a policy meets it at its turn.

    ``rng`` is the policy's own random stream of this episode, so that a scripted policy's
    words do not depend on which other conversations share its batch.
    ``latent`` is the customer's hidden state where the environment reveals it, else None.
    ``leaflet`` is what a seller can read of the shop (``Catalog.leaflet``), empty if nothing.
    """

    seed: int
    messages: list[Message]
    rng: random.Random
    latent: Mapping[str, Any] | None = None
    leaflet: str = ""


@runtime_checkable
class Policy(Protocol):
    """A seller: scripted, learned, or a user's own."""

    @property
    def name(self) -> str: ...

    def reset(self, seed: int) -> None:
        """Seed whatever randomness the policy holds of its own."""

    def act(self, conversations: Sequence[Conversation]) -> list[Response]:
        """Return one response for each conversation, in order.

        A policy with a backend that may fail says so in ``Response.failure`` of the conversations
        concerned, or raises InfrastructureError for all of them.
        """


def check_policy(policy: object) -> None:
    """Raise ConvgymError unless ``policy`` can speak: it follows ``Policy``."""
    if isinstance(policy, type):
        raise ConvgymError(f"a policy is an object, got the class {policy.__name__}: make one")
    missing = [member for member in ("name", "reset", "act") if not hasattr(policy, member)]
    if missing:
        raise ConvgymError(
            f"{repr(policy)[:60]} is no policy: it lacks {', '.join(missing)} (what a policy is:"
            " convgym.policy.Policy)"
        )
    require(policy, Policy, f"{repr(policy)[:60]} is no policy")
    name = policy.name  # type: ignore[attr-defined]
    if not isinstance(name, str):
        raise ConvgymError(f"a policy's name must be a str, got {repr(name)[:60]}")
