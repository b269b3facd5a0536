"""A customer without a will of its own: the tests tell it what to do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from convgym.customers import Customer, Decision, Reply
from convgym.errors import InfrastructureError

BROKEN_SEED = 13


class Puppet:
    """Buys when told "buy", leaves at "leave", fails at "fail"; else says what it remembers."""

    fingerprint = "puppet"
    briefing = "We sell strings."

    def __init__(self) -> None:
        self.seed = -1
        self.heard: list[str] = []
        self.closed = 0

    @property
    def latent(self) -> dict[str, Any]:
        return {"seed": self.seed, "heard": {"last": self.heard[-1] if self.heard else None}}

    def reset(self, seed: int) -> str:
        if seed == BROKEN_SEED:
            raise InfrastructureError("no connection")
        self.seed, self.heard = seed, []
        return f"hello from {seed}"

    def respond(self, utterance: str) -> Reply:
        if utterance == "fail":
            raise InfrastructureError("connection lost")
        self.heard.append(utterance)
        words = f"customer {self.seed} heard {len(self.heard)}:\n{utterance}"
        decisions = {"buy": Decision.BUY, "leave": Decision.LEAVE}
        return Reply(words, decisions.get(utterance, Decision.CONTINUE))

    def close(self) -> None:
        self.closed += 1


@pytest.fixture
def puppet() -> Callable[[], Customer]:
    return Puppet
