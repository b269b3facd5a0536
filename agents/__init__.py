"""Learning agents: the algorithms and the policies that they train.

Importing this package loads no algorithm; ``make_agent`` imports what it makes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from convgym.agents.protocol import Agent, CurvePoint, TrainingReport, Usage
from convgym.agents.registry import AGENTS, make_agent
from convgym.progress import Progress

if TYPE_CHECKING:
    from convgym.agents.training.collector import Collector

__all__ = [
    "AGENTS",
    "Agent",
    "Collector",
    "CurvePoint",
    "Progress",
    "TrainingReport",
    "Usage",
    "make_agent",
]


def __getattr__(name: str) -> Any:
    # Late: names and summaries of agents are asked for where nothing is to be loaded.
    if name == "Collector":
        from convgym.agents.training.collector import Collector

        return Collector
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
