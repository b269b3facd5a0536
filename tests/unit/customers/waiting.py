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


def nap(seed: int, turn: int) -> float:
    return NAP * random.Random(f"{seed}/{turn}").choice([0, 1, 1, 1, 10])


class WaitingPuppet(Puppet):
    """The puppet with coroutines; ``most`` tells how many were under way at once."""

    under_way = most = 0

    async def reset(self, seed: int) -> str:  # type: ignore[override]
        return str(await self._waited(seed, 0, super().reset))

    async def respond(self, utterance: str) -> Reply:  # type: ignore[override]
        reply: Reply = await self._waited(utterance, len(self.heard) + 1, super().respond)
        return reply

    async def close(self) -> None:  # type: ignore[override]
        await asyncio.sleep(0)
        super().close()

    async def _waited(self, given: Any, turn: int, answer: Any) -> Any:
        kind = WaitingPuppet
        kind.under_way += 1
        kind.most = max(kind.most, kind.under_way)
        try:
            await asyncio.sleep(nap(self.seed, turn))
            return answer(given)
        finally:
            kind.under_way -= 1


class SlowPuppet(Puppet):
    """The puppet that blocks, and notes in which threads."""

    threads: set[int] = set()  # noqa: RUF012

    def reset(self, seed: int) -> str:
        return super().reset(seed)

    def respond(self, utterance: str) -> Reply:
        self.threads.add(threading.get_ident())
        time.sleep(nap(self.seed, len(self.heard) + 1))
        return super().respond(utterance)

    def snapshot(self) -> object:
        return self.seed, list(self.heard)

    def restore(self, state: Any, seed: int | None = None) -> None:
        self.seed, self.heard = state[0], list(state[1])
