"""Learning agents: the algorithms and the policies that they train.

Importing this package loads no algorithm; ``make_agent`` imports what it makes.
"""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, cast

from convgym.agents.improvement.registry import as_improvement
from convgym.agents.protocol import Agent, CurvePoint, TrainingReport
from convgym.errors import ConvgymError, unknown
from convgym.progress import Progress

AGENTS = MappingProxyType(
    {
        "bc": ("behaviour_cloning", "BehaviourCloning", "BehaviourCloningConfig", {}),
        "filtered-bc": (
            "behaviour_cloning",
            "BehaviourCloning",
            "BehaviourCloningConfig",
            {"filter_converted": True, "epochs": 2},
        ),
        "online-ppo": ("online_ppo", "OnlinePPO", "OnlinePPOConfig", {}),
        "iterative-ppo": ("iterative_ppo", "IterativePPO", "IterativePPOConfig", {}),
    }
)
"""Name of an agent -> its module, class, config class and the settings that make its name."""

__all__ = ["AGENTS", "Agent", "CurvePoint", "Progress", "TrainingReport", "make_agent"]


def make_agent(name: str, **overrides: Any) -> Agent:
    """Return a new agent by name, with ``overrides`` of its config's fields.

    An ``improvement`` may also be given by name or as a mapping, see ``as_improvement``.

    Raises:
        ConvgymError: for an unknown agent, an unknown field, or a model that cannot be loaded.
    """
    if name not in AGENTS:
        raise unknown("agent", name, AGENTS)
    module_name, class_name, config_name, settings = AGENTS[name]
    try:
        module = importlib.import_module(f"convgym.agents.algorithms.{module_name}")
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("convgym"):
            raise
        raise ConvgymError(
            f"agent {name!r} needs {error.name!r}: pip install 'convgym[train]'"
        ) from error
    config_class = getattr(module, config_name)
    fields = [field.name for field in dataclasses.fields(config_class)]
    for field in overrides:
        if field not in fields:
            raise unknown(f"setting of agent {name!r}", field, fields)
    if "improvement" in overrides:
        overrides["improvement"] = as_improvement(overrides["improvement"])
    if isinstance(overrides.get("policy"), Mapping):
        from convgym.agents.model.config import PolicyConfig

        overrides["policy"] = PolicyConfig(**overrides["policy"])
    config = config_class(**{**settings, **overrides})
    return cast("Agent", getattr(module, class_name)(config, name=name))
