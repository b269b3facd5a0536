"""The environments; ``import convgym`` registers them with Gymnasium."""

from __future__ import annotations

from convgym.envs.sales import SalesEnv
from convgym.envs.vector import SalesVectorEnv

__all__ = ["SalesEnv", "SalesVectorEnv"]
