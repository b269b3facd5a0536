"""A customer that says again what a log has it say, to debug sellers and environments with."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, cast

from convgym.checks import check_integer
from convgym.conversation import Episode, Outcome
from convgym.customers.base import Decision, Reply
from convgym.customers.snapshots import Snapshot, opened
from convgym.errors import ConvgymError, InfrastructureError
from convgym.logs import read_log
from convgym.reasoning import heard

_DECISIONS: dict[Outcome, Decision] = {"purchase": Decision.BUY, "walk_away": Decision.LEAVE}


class ReplayCustomer:
    """Plays the customer's side of logged episodes, whatever the seller says.

    The replies are those to the *logged* seller: they mean something only as long as the seller
    keeps to the log. Where its words depart from it, ``record`` counts that (``departures``, and
    the turn of the first one from 0 on).

    Args:
        log: a log file, an episode or several.
        index: which episode to play, from 0 on; None plays the one with the episode seed of the
            reset, the first of these if the log has several.
        strict: raise ConvgymError at the first departure, with both wordings.

    Raises:
        ConvgymError: if the log cannot be read or holds no such episode.
    """

    def __init__(
        self,
        log: str | Path | Episode | Iterable[Episode],
        index: int | None = None,
        strict: bool = False,
    ) -> None:
        if isinstance(log, (str, Path)):
            log = read_log(log).episodes
        self._episodes = _all(log)
        n = len(self._episodes)
        if index is not None and (index := check_integer("index", index, 0)) >= n:
            raise ConvgymError(f"index must be one of 0 to {n - 1}, got {index!r}")
        self._index, self._strict = index, strict
        self._episode: Episode | None = None
        self._turn, self._departures = 0, list[int]()
        words = [(e.seed, e.customer, e.outcome, e.messages()) for e in self._episodes]
        digest = hashlib.sha256(repr((words, index)).encode()).hexdigest()[:12]
        self.fingerprint = f"replay-v0:{digest}"

    @property
    def latent(self) -> dict[str, Any]:
        """Where the replay is, and what the logged seller says next."""
        turns = self._episode.turns if self._episode else ()
        following = turns[self._turn].response.text if self._turn < len(turns) else None
        return {"turn": self._turn, "logged_seller": following}

    @property
    def record(self) -> dict[str, Any]:
        """How often the seller departed from the log, and at which turn first (or None)."""
        first = self._departures[0] if self._departures else None
        return {"departures": len(self._departures), "first_departure": first}

    def reset(self, seed: int) -> str:
        """Say the logged opening; ConvgymError if the log holds no episode with this seed."""
        if self._index is not None:
            self._episode = self._episodes[self._index]
        else:
            episode = next((e for e in self._episodes if e.seed == seed), None)
            if episode is None:
                known = ", ".join(str(e.seed) for e in self._episodes[:5])
                raise ConvgymError(
                    f"the log holds no episode of seed {seed}; its {len(self._episodes)} seeds"
                    f" begin {known}: use one of them as the episode seed, or give index="
                )
            self._episode = episode
        self._turn, self._departures = 0, []
        return self._episode.opening

    def respond(self, utterance: str) -> Reply:
        """Say the logged reply.

        Raises ConvgymError at a departure from the log if ``strict``, InfrastructureError where
        the log ends or has the customer fail.
        """
        if self._episode is None:
            raise ConvgymError("there is no episode to play yet: call reset(seed) first")
        episode, turn = self._episode, self._turn
        if turn >= len(episode.turns):
            reason = episode.metadata.get("failure", "nothing more was logged")
            raise InfrastructureError(f"the log ends after {turn} turns: {reason}")
        logged = episode.turns[turn]
        if heard(utterance) != heard(logged.response.text):
            if self._strict:
                raise ConvgymError(
                    f"turn {turn} of the episode of seed {episode.seed}: the logged seller says"
                    f" {logged.response.text[:80]!r}, this one {utterance[:80]!r}"
                )
            self._departures.append(turn)
        self._turn += 1
        last = self._turn == len(episode.turns)
        decision = _DECISIONS.get(episode.outcome, Decision.CONTINUE) if last else Decision.CONTINUE
        return Reply(logged.reply, decision)

    def snapshot(self) -> object:
        """Return where the replay is."""
        return Snapshot("replay", (self._episode, self._turn, tuple(self._departures)))

    def restore(self, state: object, seed: int | None = None) -> None:
        """Go back to a snapshot; nothing is random, so ``seed`` changes nothing.

        Raises ConvgymError for what is no snapshot of such a customer.
        """
        kept = opened(state, "replay")
        self._episode, self._turn, self._departures = kept[0], kept[1], list(kept[2])


def _all(given: object) -> list[Episode]:
    episodes = list(given) if isinstance(given, Iterable) else [given]
    for episode in episodes:
        if not isinstance(episode, Episode):
            raise ConvgymError(f"log must be a log file or episodes, got {repr(episode)[:60]}")
    return cast("list[Episode]", episodes)
