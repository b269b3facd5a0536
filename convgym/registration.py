"""The environments' names in Gymnasium's registry."""

from __future__ import annotations

import gymnasium

SALES = "convgym/Sales-v0"


def register_environments() -> None:
    """Register the environments, once however often it is called."""
    if SALES not in gymnasium.registry:
        gymnasium.register(
            SALES,
            entry_point="convgym.envs.sales:SalesEnv",
            vector_entry_point="convgym.envs.vector:SalesVectorEnv",
        )
