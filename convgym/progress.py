"""News of a long piece of work: one form of it for collecting, training and evaluation."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a piece of work stands: ``done`` of ``total`` conversations or steps of this stage.

    ``metrics`` are the present ones of training, by name.
    """

    stage: str
    done: int
    total: int
    metrics: Mapping[str, float] = field(default_factory=dict)


ProgressCallback = Callable[[Progress], None]
"""Told where a piece of work stands, as often as it gets on."""


def no_progress(progress: Progress) -> None:
    """Tell nobody."""
