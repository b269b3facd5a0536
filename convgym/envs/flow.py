"""Dialogues that go on as they are ready, and do not wait for one another.

A customer that can be asked without waiting for it (``convgym.customers.concurrently``) answers
when it does; all others answer at once, together where they can. With those alone, all dialogues
move in step.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Coroutine, Mapping, Sequence
from concurrent.futures import Future
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any

from convgym.checks import check_seed
from convgym.conversation import Response
from convgym.customers.concurrently import is_concurrent, reset_soon, respond_soon, submit
from convgym.envs.dialogue import Dialogue, reset_together, respond_together


class Flow:
    """N dialogues, each known by its place 0 ... N - 1, and which of them have moved."""

    def __init__(self, dialogues: Sequence[Dialogue]) -> None:
        self._dialogues = dialogues
        self._concurrent = [is_concurrent(dialogue.customer) for dialogue in dialogues]
        self._moved: list[int] = []
        self._under_way: dict[Future[Any], tuple[int, Callable[[Any], None]]] = {}
        self._came: SimpleQueue[Future[Any]] = SimpleQueue()

    @property
    def busy(self) -> bool:
        """Whether a dialogue has moved, or is going to."""
        return bool(self._moved or self._under_way)

    @property
    def places(self) -> set[int]:
        """The dialogues that have moved, or are going to."""
        return {place for place, _ in self._under_way.values()}.union(self._moved)

    def reset(self, seeds: Mapping[int, int]) -> None:
        """Reset dialogues, by place, as ``Dialogue.reset`` does."""
        at_once = []
        for place, seed in seeds.items():
            if self._concurrent[place]:
                dialogue = self._dialogues[place]
                opening = reset_soon(dialogue.customer, check_seed(seed))
                self._send(place, opening, partial(dialogue.open, seed))
            else:
                at_once.append(place)
        reset_together([self._dialogues[i] for i in at_once], [seeds[i] for i in at_once])
        self._moved += at_once

    def say(self, responses: Mapping[int, Response]) -> None:
        """Step dialogues, by place, by a policy's responses; where the seller failed, they end."""
        at_once = []
        for place, response in responses.items():
            dialogue = self._dialogues[place]
            if not self._concurrent[place] or response.failure or dialogue.failure:
                at_once.append(place)
            else:
                said = dialogue.say(response.text)
                reply = respond_soon(dialogue.customer, said)
                self._send(place, reply, partial(dialogue.hear, said))
        respond_together([self._dialogues[i] for i in at_once], [responses[i] for i in at_once])
        self._moved += at_once

    def _send(
        self, place: int, answer: Coroutine[Any, Any, Any], go_on: Callable[[Any], None]
    ) -> None:
        future = submit(_settled(answer))
        self._under_way[future] = place, go_on
        future.add_done_callback(self._came.put)

    def ready(self, *, wait: bool) -> list[int]:
        """Return, in order, the places of the dialogues that have moved since the last call.

        Args:
            wait: whether to wait for one at least, if any is under way.

        Raises:
            ConvgymError: if a customer breaks its protocol; what its own code raises passes.
        """
        while self._under_way:
            try:
                future = self._came.get(block=wait and not self._moved)
            except Empty:
                break
            place, go_on = self._under_way.pop(future)
            go_on(future.result())
            self._moved.append(place)
        moved, self._moved = sorted(self._moved), []
        return moved

    def forget(self, places: Collection[int]) -> None:
        """Do not tell of dialogues that have moved already; those under way stay so."""
        self._moved = [place for place in self._moved if place not in places]

    def stop(self) -> None:
        """Wait for nobody any more."""
        for future in self._under_way:
            future.cancel()
        self._under_way.clear()


async def _settled(answer: Coroutine[Any, Any, Any]) -> Any:
    """Return an answer, or the error that came instead: nobody may ask for it any more."""
    try:
        return await answer
    except Exception as error:
        return error
