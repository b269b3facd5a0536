"""Customers that take their time: puppets with coroutines, and puppets that block."""

from __future__ import annotations

import asyncio
import random
import threading
import time
from typing import Any

from convgym.customers import Reply
from tests.unit.conftest import Puppet

NAP = 0.004
"""Seconds; the longest reply takes ten of them."""
PATIENCE = 30
"""Seconds until who waits for others gives up: busy machines keep nobody that long."""


def nap(seed: int, turn: int) -> float:
    return NAP * random.Random(f"{seed}/{turn}").choice([0, 1, 1, 1, 10])


class WaitingPuppet(Puppet):
    """The puppet with coroutines."""

    async def reset(self, seed: int) -> str:  # type: ignore[override]
        return str(await self._waited(seed, 0, super().reset))

    async def respond(self, utterance: str) -> Reply:  # type: ignore[override]
        reply: Reply = await self._waited(utterance, len(self.heard) + 1, super().respond)
        return reply

    async def close(self) -> None:  # type: ignore[override]
        await asyncio.sleep(0)
        super().close()

    async def _waited(self, given: Any, turn: int, answer: Any) -> Any:
        await asyncio.sleep(nap(self.seed, turn))
        return answer(given)


def gathering(size: int) -> type[WaitingPuppet]:
    """Return puppets of whom none greets anybody before ``size`` have been asked to."""

    class Gathering(WaitingPuppet):
        asked = 0

        async def reset(self, seed: int) -> str:  # type: ignore[override]
            Gathering.asked += 1
            deadline = time.monotonic() + PATIENCE
            while Gathering.asked < size:
                assert time.monotonic() < deadline, f"{Gathering.asked} of {size} are under way"
                await asyncio.sleep(NAP)
            return await super().reset(seed)

    return Gathering


class SlowPuppet(Puppet):
    """The puppet that blocks: it greets nobody before ``at_once`` threads have been asked to."""

    at_once = 8
    threads: set[int] = set()  # noqa: RUF012

    def reset(self, seed: int) -> str:
        self.threads.add(threading.get_ident())
        deadline = time.monotonic() + PATIENCE
        while len(self.threads) < self.at_once:
            assert time.monotonic() < deadline, f"{len(self.threads)} threads of {self.at_once}"
            time.sleep(NAP)
        return super().reset(seed)

    def respond(self, utterance: str) -> Reply:
        time.sleep(nap(self.seed, len(self.heard) + 1))
        return super().respond(utterance)

    def snapshot(self) -> object:
        return self.seed, list(self.heard)

    def restore(self, state: Any, seed: int | None = None) -> None:
        self.seed, self.heard = state[0], list(state[1])
