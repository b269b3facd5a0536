"""Batches: how large, how soon, and what becomes of those who went away."""

from __future__ import annotations

import asyncio

import pytest

from convgym.agents.serving.batching import Batcher
from convgym.agents.serving.scores import Pair, Score
from tests.unit.agents.serving.fakes import Counter

E = ord("e")


def pairs(n: int) -> list[Pair]:
    return [Pair((1,), (E,) * i + (2,)) for i in range(n)]


def test_batches_are_full_and_in_order() -> None:
    scorer = Counter()

    async def ask() -> list[list[Score]]:
        async with Batcher(scorer, batch_size=4, max_wait=0.05) as batcher:
            answers = await asyncio.gather(batcher.score(pairs(3)), batcher.score(pairs(6)))
            assert batcher.waiting == 0 and batcher.scored == 9
            return [*answers]

    three, six = asyncio.run(ask())
    assert scorer.batches == [4, 4, 1]
    assert [score.q for score in six] == [i / (i + 1) for i in range(6)]
    assert three == six[:3]


def test_who_is_alone_does_not_wait_long() -> None:
    scorer = Counter()

    async def ask() -> None:
        async with Batcher(scorer, batch_size=10**6, max_wait=0.0) as batcher:
            await asyncio.wait_for(batcher.score(pairs(1)), 5)
            assert await batcher.score([]) == []

    asyncio.run(ask())
    assert scorer.batches == [1]


def test_what_comes_while_a_batch_is_scored_makes_the_next() -> None:
    scorer = Counter(delay=0.05)

    async def ask() -> None:
        async with Batcher(scorer, batch_size=64, max_wait=0.0) as batcher:
            first = asyncio.create_task(batcher.score(pairs(1)))
            await asyncio.sleep(0.02)
            await asyncio.gather(first, *(batcher.score(pairs(2)) for _ in range(10)))

    asyncio.run(ask())
    assert scorer.batches == [1, 20]


def test_an_error_is_told_to_all_of_its_batch_and_to_no_other() -> None:
    scorer = Counter()

    async def ask() -> list[Score]:
        async with Batcher(scorer, batch_size=64, max_wait=0.01) as batcher:
            scorer.error = RuntimeError("broken")
            results = await asyncio.gather(
                batcher.score(pairs(2)), batcher.score(pairs(1)), return_exceptions=True
            )
            assert [str(result) for result in results] == ["broken", "broken"]
            scorer.error = None
            return await batcher.score(pairs(1))

    assert asyncio.run(ask()) == [Score(0.0, 0.0)]


def test_who_went_away_is_not_scored() -> None:
    scorer = Counter(delay=0.05)

    async def ask() -> None:
        async with Batcher(scorer, batch_size=4, max_wait=0.0) as batcher:
            first = asyncio.create_task(batcher.score(pairs(1)))
            await asyncio.sleep(0.02)
            gone = asyncio.create_task(batcher.score(pairs(4)))
            await asyncio.sleep(0)
            gone.cancel()
            with pytest.raises(asyncio.CancelledError):
                await gone
            await first
            await batcher.score(pairs(2))

    asyncio.run(ask())
    assert scorer.batches == [1, 2]
