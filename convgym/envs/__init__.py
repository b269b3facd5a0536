"""The environments; ``import convgym`` registers them with Gymnasium."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from convgym.envs.sales import SalesEnv
    from convgym.envs.vector import SalesVectorEnv

__all__ = ["SalesEnv", "SalesVectorEnv"]


def __getattr__(name: str) -> Any:
    # Late: registering the environments' names must load nothing but NumPy and Gymnasium.
    if name == "SalesEnv":
        from convgym.envs.sales import SalesEnv

        return SalesEnv
    if name == "SalesVectorEnv":
        from convgym.envs.vector import SalesVectorEnv

        return SalesVectorEnv
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
