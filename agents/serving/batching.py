"""Requests that come at the same time are scored together."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from convgym.agents.serving.scores import Pair, Score, Scorer

_Asked = tuple[Pair, "asyncio.Future[Score]"]


class Batcher:
    """Gathers pairs of all connections into batches, and has them scored one batch at a time.

    A batch is scored once it is full, or once its first pair has waited long enough; what comes
    while it is scored waits for the next one. Within ``async with`` it works.

    Args:
        scorer: called in a thread of its own.
        batch_size: most pairs that are scored together.
        max_wait: seconds that a pair waits for company.
    """

    def __init__(self, scorer: Scorer, *, batch_size: int, max_wait: float) -> None:
        self._scorer, self._batch_size, self._max_wait = scorer, batch_size, max_wait
        self._queue: asyncio.Queue[_Asked] = asyncio.Queue()
        self.batches, self.scored = 0, 0

    @property
    def waiting(self) -> int:
        """Pairs that no batch has been made of yet."""
        return self._queue.qsize()

    async def __aenter__(self) -> Batcher:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="scorer")
        self._worker = asyncio.create_task(self._work())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._worker.cancel()
        await asyncio.gather(self._worker, return_exceptions=True)
        self._thread.shutdown()

    async def score(self, pairs: Sequence[Pair]) -> list[Score]:
        """Return the pairs' scores; raises what the scorer raised."""
        loop = asyncio.get_running_loop()
        asked: list[_Asked] = [(pair, loop.create_future()) for pair in pairs]
        for each in asked:
            self._queue.put_nowait(each)
        return await asyncio.gather(*(future for _, future in asked))

    async def _work(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            # Who has gone away needs no answer.
            batch = [each for each in await self._next_batch() if not each[1].done()]
            if not batch:
                continue
            try:
                scores = await loop.run_in_executor(
                    self._thread, self._scorer.score, [pair for pair, _ in batch]
                )
            except Exception as error:
                for _, future in batch:
                    if not future.done():
                        future.set_exception(error)
                continue
            self.batches += 1
            self.scored += len(batch)
            for (_, future), score in zip(batch, scores, strict=True):
                if not future.done():
                    future.set_result(score)

    async def _next_batch(self) -> list[_Asked]:
        batch = [await self._queue.get()]
        try:
            async with asyncio.timeout(self._max_wait):
                while len(batch) < self._batch_size:
                    batch.append(await self._queue.get())
        except TimeoutError:
            pass
        # What is there already need not wait, whatever the time.
        while len(batch) < self._batch_size and not self._queue.empty():
            batch.append(self._queue.get_nowait())
        return batch
