"""What conversations have to tell when they have moved, and many of them as one batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convgym.envs.dialogue import Dialogue

Texts = tuple[str, ...]
StepResult = tuple[Texts, NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_], dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Move:
    """What one conversation tells of a step, under Gymnasium's names; no ``info``, no move."""

    observation: str
    reward: float
    terminated: bool
    truncated: bool
    info: Mapping[str, Any]


def heard(dialogue: Dialogue, reveal_latent: bool) -> Move:
    """Return what a dialogue tells that has taken a turn; ConvgymError as ``Dialogue.reward``."""
    return Move(
        dialogue.text,
        dialogue.reward,
        dialogue.terminated,
        dialogue.truncated,
        dialogue.info(reveal_latent),
    )


def stood(dialogue: Dialogue) -> Move:
    """Return what a dialogue tells that has ended and stands still."""
    return Move(dialogue.text, 0.0, dialogue.terminated, dialogue.truncated, {})


def began(dialogue: Dialogue, reveal_latent: bool, end: Move | None = None) -> Move:
    """Return what a dialogue tells that was reset, in the very step that brought the ``end``."""
    info = dialogue.opening_info(reveal_latent)
    if end is None:
        return Move(dialogue.text, 0.0, False, False, info)
    info = {"final_obs": end.observation, "final_info": end.info, **info}
    return Move(dialogue.text, end.reward, end.terminated, end.truncated, info)


def batch(moves: Sequence[Move]) -> StepResult:
    """Return n moves as a step's observations, rewards, terminations, truncations and infos."""
    return (
        tuple([move.observation for move in moves]),
        np.array([move.reward for move in moves], dtype=np.float64),
        np.array([move.terminated for move in moves], dtype=np.bool_),
        np.array([move.truncated for move in moves], dtype=np.bool_),
        batch_infos({i: move.info for i, move in enumerate(moves)}, len(moves)),
    )


def batch_infos(infos: Mapping[int, Mapping[str, Any]], n: int) -> dict[str, Any]:
    """Return single infos, keyed by place among ``n``, in Gymnasium's convention for vectors.

    The same as ``VectorEnv._add_info`` for one after the other, but column by column, which is
    faster, and without trouble where a value is a number here and None there. Numbers of one kind
    become a number array, all else an object array, and nested dictionaries are batched likewise;
    ``_key`` is True where there is a value.
    """
    columns: dict[str, dict[int, Any]] = {}
    for i, info in infos.items():
        for key, value in info.items():
            columns.setdefault(key, {})[i] = value
    batched: dict[str, Any] = {}
    for key, column in columns.items():
        kinds = set(map(type, column.values()))
        if kinds == {dict}:
            batched[key] = batch_infos(column, n)
        else:
            number = kinds in ({bool}, {int}, {float})
            array = np.zeros(n, dtype=kinds.pop()) if number else np.full(n, None, dtype=object)
            for i, value in column.items():
                array[i] = value
            batched[key] = array
        batched[f"_{key}"] = mask = np.zeros(n, dtype=np.bool_)
        mask[list(column)] = True
    return batched
