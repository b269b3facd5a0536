"""What was really used of customers, counted where conversations happen and not by who reports it.

Every conversation of an environment, a vector environment, a rollout or a branch passes through
``convgym.envs.dialogue``, which tells all meters that run. Customers that somebody calls by hand,
without any of these, are not seen.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from convgym.seeds import EVALUATION_BASE


@dataclass(slots=True)
class Meter:
    """Counts since it was started, in this process, of all threads."""

    conversations: int = 0
    """Customers that were met from the beginning of a conversation on."""
    evaluation_conversations: int = 0
    """Those of them that are reserved for evaluation."""
    turns: int = 0
    """Answers of customers."""
    branches: int = 0
    """Conversations that went on from a copied customer."""


_RUNNING: list[Meter] = []


@contextmanager
def metered() -> Iterator[Meter]:
    """Count what happens inside; meters may be nested."""
    meter = Meter()
    _RUNNING.append(meter)
    try:
        yield meter
    finally:
        # By identity: equal counts do not make two meters one.
        _RUNNING[:] = [running for running in _RUNNING if running is not meter]


def count_conversation(seed: int) -> None:
    """Tell all meters that a customer was met."""
    for meter in _RUNNING:
        meter.conversations += 1
        meter.evaluation_conversations += seed >= EVALUATION_BASE


def count_turn() -> None:
    """Tell all meters that a customer answered."""
    for meter in _RUNNING:
        meter.turns += 1


def count_branch() -> None:
    """Tell all meters that a conversation was taken up from a copy."""
    for meter in _RUNNING:
        meter.branches += 1
