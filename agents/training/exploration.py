"""Exploration: the voices that a log's conversations are held with, in turn."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

from convgym.agents.model.policy import LanguageModelPolicy
from convgym.errors import ConvgymError


def check_exploration(factors: Sequence[float]) -> None:
    """Raise ConvgymError unless these are factors that a temperature can be multiplied by."""
    if not factors or min(factors) <= 0:
        raise ConvgymError(f"exploration must be one or more factors above 0, got {factors}")


def voices(
    policy: LanguageModelPolicy,
    exploration: Sequence[float],
    personas: Sequence[str | None] = (None,),
) -> list[LanguageModelPolicy]:
    """Return those who hold a log's conversations in turn: every persona at every temperature.

    Args:
        policy: whose weights all share.
        exploration: what its temperature is multiplied by.
        personas: system messages of a chat model; None is its own.
    """
    return [policy.voice(persona, factor) for persona, factor in product(personas, exploration)]
