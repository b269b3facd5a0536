"""Conversations of a vector environment that come back one by one, as their customers answer."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain
from typing import Any

from gymnasium.vector import AutoresetMode

from convgym.conversation import Response
from convgym.envs.dialogue import Dialogue
from convgym.envs.flow import Flow
from convgym.envs.moves import Move, began, heard, stood
from convgym.errors import ConvgymError

Draw = Callable[[int], tuple[int, Callable[[], None]]]
"""Draws an episode seed for a place; beside it stands what puts the generator back."""


class InFlight:
    """Those of N dialogues, by place, to which something was sent, until they are received.

    If a customer's own code raises, its dialogue is not in flight any more but where it was when
    it was sent to, if the customer can be put back. All others go on: what raises concerns nobody
    but those that were asked together with it, at once.

    Args:
        dialogues: the N dialogues.
        autoreset: what becomes of those that have ended.
        reveal_latent: whether their infos show the hidden state.
        draw: where a dialogue's next episode seed comes from.
    """

    def __init__(
        self,
        dialogues: Sequence[Dialogue],
        autoreset: AutoresetMode,
        reveal_latent: bool,
        draw: Draw,
    ) -> None:
        self._dialogues, self._autoreset = dialogues, autoreset
        self._reveal, self._draw = reveal_latent, draw
        self._flow = Flow(dialogues)
        self._undo: dict[int, list[Callable[[], None]]] = {}  # of all that are in flight
        self._arrived: list[int] = []  # have moved, and were not looked at
        self._meeting: set[int] = set()  # are being reset
        self._ends: dict[int, Move] = {}  # have ended, and are to be reset before they are ready
        self._ready: dict[int, Move] = {}

    def __reduce__(self) -> tuple[Any, ...]:
        """Travel as long as nobody is in flight; ConvgymError otherwise."""
        self.check_landed()
        return InFlight, (self._dialogues, self._autoreset, self._reveal, self._draw)

    def check_landed(self) -> None:
        """Raise ConvgymError, for who wants a copy, if anybody is in flight."""
        if self._undo:
            raise ConvgymError(
                f"an environment with {len(self._undo)} conversations in flight cannot be copied:"
                " recv() them first"
            )

    @property
    def places(self) -> list[int]:
        """Those that are in flight, in order."""
        return sorted(self._undo)

    def reset(self, seeds: Mapping[int, int | None]) -> None:
        """Reset dialogues that are not in flight, by place; None draws an episode seed.

        What the code of customers raises that answer at once is raised here, and of all others in
        ``receive``.
        """
        with self._put_back_if_lost(seeds):
            self._mark(seeds)
            self._meet(seeds)

    def say(self, utterances: Mapping[int, str]) -> None:
        """Go on with dialogues that are not in flight, by place; raises as ``reset``."""
        with self._put_back_if_lost(utterances):
            self._mark(utterances)
            said: dict[int, Response] = {}
            over: list[int] = []
            for place, utterance in utterances.items():
                if self._dialogues[place].outcome is None:
                    said[place] = Response(utterance)
                else:
                    over.append(place)
            if self._autoreset is AutoresetMode.NEXT_STEP:
                self._meet(dict.fromkeys(over))
                over = []
            self._flow.say(said)
            self._ready |= {place: stood(self._dialogues[place]) for place in over}

    def receive(self, at_least: int) -> dict[int, Move]:
        """Return what those tell that are ready, by place and in order.

        Args:
            at_least: for how many to wait, no more than are in flight.
        """
        with self._put_back_if_lost():
            while True:
                while self._arrived:  # after an error, some are left from before
                    self._look_at(self._arrived.pop())
                # Together: some customers answer sooner so.
                self._meet(dict.fromkeys(sorted(self._ends.keys() - self._meeting)))
                self._arrived = self._flow.ready(wait=len(self._ready) < at_least)
                if not self._arrived:
                    break
        moves = {place: self._ready[place] for place in sorted(self._ready)}
        for place in moves:
            del self._ready[place], self._undo[place]
        return moves

    def _look_at(self, place: int) -> None:
        dialogue = self._dialogues[place]
        if place in self._meeting:
            self._meeting.discard(place)
            self._ready[place] = began(dialogue, self._reveal, self._ends.pop(place, None))
            return
        move = heard(dialogue, self._reveal)
        ended = dialogue.outcome is not None
        again = ended and self._autoreset is AutoresetMode.SAME_STEP
        (self._ends if again else self._ready)[place] = move

    def _meet(self, seeds: Mapping[int, int | None]) -> None:
        drawn = {}
        for place, seed in seeds.items():
            if seed is None:
                seed, put_back = self._draw(place)
                self._undo[place].append(put_back)
            drawn[place] = seed
        self._meeting.update(drawn)
        self._flow.reset(drawn)

    def _mark(self, places: Collection[int]) -> None:
        for place in places:
            go_back = self._dialogues[place].mark()
            self._undo[place] = [] if go_back is None else [go_back]

    @contextmanager
    def _put_back_if_lost(self, sent: Collection[int] = ()) -> Iterator[None]:
        """Put those back that an error has taken out of the flow, and all of ``sent`` if it can."""
        try:
            yield
        except BaseException as error:
            self._flow.forget(sent)
            coming = self._flow.places | (self._ends.keys() - self._meeting)
            lost = sorted(self._undo.keys() - {*coming, *self._arrived, *self._ready})
            undo = [self._undo.pop(place) for place in lost]
            self._meeting.difference_update(lost)
            for place in lost:
                self._ends.pop(place, None)
            if lost and not sent:
                error.add_note(f"env_id {', '.join(map(str, lost))}: not in flight any more")
            for put_back in chain.from_iterable(undo):
                put_back()
            raise

    def stop(self) -> None:
        """Wait for nobody any more."""
        self._flow.stop()
        for kept in (self._undo, self._arrived, self._meeting, self._ends, self._ready):
            kept.clear()
