"""The environments' names in Gymnasium's registry."""

from __future__ import annotations

import gymnasium

SALES = "convgym/Sales-v0"
SALES_V1 = "convgym/Sales-v1"
SUGGEST = "convgym/Suggest-v0"

# The same environment with other customers: v1's shopper, and a business that takes suggestions.
_CUSTOMERS = {SALES: "scripted", SALES_V1: "shopper", SUGGEST: "suggested"}


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
    # Gymnasium warns that every id but the highest of a name is out of date, which v0 is not: it
    # stays, bit by bit, beside v1.
    gymnasium.registry[SALES_V1].name = "Sales-v1"
