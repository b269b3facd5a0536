"""Learning agents: the algorithms and the policies that they train.

Importing this package loads no algorithm; ``make_agent`` imports what it makes.
"""

from __future__ import annotations

from convgym.agents.protocol import Agent, CurvePoint, TrainingReport
from convgym.agents.registry import AGENTS, make_agent
from convgym.progress import Progress

__all__ = ["AGENTS", "Agent", "CurvePoint", "Progress", "TrainingReport", "make_agent"]
