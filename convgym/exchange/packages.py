"""Packages that a format needs."""

from __future__ import annotations

from typing import Any

from convgym import packages


def load(module: str, purpose: str) -> Any:
    """Return a module of the extra ``logs``; ConvgymError where it is not installed."""
    return packages.load(module, purpose, "logs")
