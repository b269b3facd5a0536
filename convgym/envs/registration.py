"""The environments' names in Gymnasium's registry."""

from __future__ import annotations

import gymnasium

SALES = "convgym/Sales-v0"
SUGGEST = "convgym/Suggest-v0"

# The same environment with another customer: behind a business that takes suggestions.
_CUSTOMERS = {SALES: "scripted", SUGGEST: "suggested"}


def register_environments() -> None:
    """Register the environments, once however often it is called."""
    for name, customer in _CUSTOMERS.items():
        if name not in gymnasium.registry:
            gymnasium.register(
                name,
                entry_point="convgym.envs.sales:SalesEnv",
                vector_entry_point="convgym.envs.vector:SalesVectorEnv",
                kwargs={"customer": customer},
            )
