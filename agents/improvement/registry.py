"""Solvers of the improvement step by name."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from convgym.agents.settings import configured, defaults
from convgym.contracts import described
from convgym.errors import ConvgymError
from convgym.registry import Entry, Registry

if TYPE_CHECKING:
    from convgym.agents.improvement.problem import Improvement

SolverClass: TypeAlias = "type[Improvement]"


def _solver(thing: object, spec: str) -> SolverClass:
    if not (isinstance(thing, type) and dataclasses.is_dataclass(thing)):
        raise ConvgymError(
            f"improvement {spec!r} must be a dataclass of its settings, got {described(thing)}"
        )
    if not callable(getattr(thing, "improve", None)):
        raise ConvgymError(f"improvement {spec!r} is no solver: it lacks improve")
    return cast("SolverClass", thing)


IMPROVEMENTS: Registry[SolverClass] = Registry(
    "improvement",
    "convgym.improvements",
    {
        "token-ppo": Entry(
            "convgym.agents.improvement.token_ppo:TokenPPO",
            "PPO on tokens of fresh and logged responses (the default)",
        ),
        "token-grpo": Entry(
            "convgym.agents.improvement.token_grpo:TokenGRPO",
            "GRPO on tokens of fresh responses, measured by each state's spread",
        ),
        "best-of-n": Entry(
            "convgym.agents.improvement.best_of_n:BestOfN",
            "imitates the best of n responses",
        ),
        "grpo": Entry(
            "convgym.agents.improvement.trl:GRPO", "TRL's group relative policy optimisation"
        ),
        "rloo": Entry("convgym.agents.improvement.trl:RLOO", "TRL's REINFORCE leave-one-out"),
    },
    _solver,
)
"""Solvers of the improvement step by name. Nothing is imported before it is made."""


def make_improvement(name: str, **overrides: Any) -> Improvement:
    """Return a solver, with ``overrides`` of its hyperparameters.

    Args:
        name: a name or ``"package.module:Class"``, see ``convgym.registry``.
        **overrides: fields of the solver, which is the dataclass of its hyperparameters.

    Raises:
        ConvgymError: for an unknown solver or hyperparameter, a bad value, or where TRL is missing.
    """
    what = f"improvement {name!r}"
    return configured(defaults(IMPROVEMENTS.resolve(name), what), overrides, what)


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
                f"{', '.join(IMPROVEMENTS.shipped)}; got {', '.join(given) or 'none'}"
            )
        return make_improvement(**given)
    if not callable(getattr(given, "improve", None)):
        raise ConvgymError(
            f"an improvement is a solver, its name, or a mapping with its name, got"
            f" {described(given)}"
        )
    return given
