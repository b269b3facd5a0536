"""Exploration: the voices that a log's conversations are held with, in turn."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

from convgym.agents.model.policy import LanguageModelPolicy
from convgym.agents.model.sampling import check_temperature
from convgym.errors import ConvgymError


def check_exploration(factors: Sequence[float], temperature: float) -> None:
    """Raise ConvgymError unless these are factors that ``temperature`` can be multiplied by."""
    if not factors or not all(factor > 0 for factor in factors):
        raise ConvgymError(f"exploration must be one or more factors above 0, got {factors}")
    for factor in factors:
        try:
            check_temperature(temperature * factor)
        except ConvgymError as error:
            raise ConvgymError(f"exploration by {factor}: {error}") from None


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
