"""Solvers of the improvement step by name."""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, cast

from convgym.errors import ConvgymError, unknown

if TYPE_CHECKING:
    from convgym.agents.improvement.problem import Improvement

IMPROVEMENTS = MappingProxyType(
    {
        "token-ppo": ("token_ppo", "TokenPPO"),
        "best-of-n": ("best_of_n", "BestOfN"),
        "grpo": ("trl", "GRPO"),
        "rloo": ("trl", "RLOO"),
    }
)
"""Name of a solver -> its module and class. Nothing is imported before it is made."""


def make_improvement(name: str, **overrides: Any) -> Improvement:
    """Return a solver by name, with ``overrides`` of its hyperparameters.

    Raises:
        ConvgymError: for an unknown solver or hyperparameter, a bad value, or where TRL is missing.
    """
    if name not in IMPROVEMENTS:
        raise unknown("improvement", name, IMPROVEMENTS)
    module_name, class_name = IMPROVEMENTS[name]
    solver = getattr(
        importlib.import_module(f"convgym.agents.improvement.{module_name}"), class_name
    )
    fields = [field.name for field in dataclasses.fields(solver)]
    for field in overrides:
        if field not in fields:
            raise unknown(f"setting of improvement {name!r}", field, fields)
    return cast("Improvement", solver(**overrides))


def as_improvement(given: Improvement | str | Mapping[str, Any]) -> Improvement:
    """Return a solver given as itself, by its name, or as a mapping with its ``name``.

    Raises:
        ConvgymError: for a mapping without a name, and as ``make_improvement``.
    """
    if isinstance(given, str):
        return make_improvement(given)
    if isinstance(given, Mapping):
        if "name" not in given:
            raise ConvgymError(
                "an improvement given as a mapping needs the key 'name', one of "
                f"{', '.join(IMPROVEMENTS)}; got {', '.join(given) or 'none'}"
            )
        return make_improvement(**given)
    return given
