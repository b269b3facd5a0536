"""Packages of extras, told by name where they are not installed."""

from __future__ import annotations

import importlib
from typing import Any

from convgym.errors import ConvgymError
from convgym.installing import install_command


def load(module: str, purpose: str, extra: str) -> Any:
    """Return a module of an extra.

    Raises:
        ConvgymError: that says what to install, if the module or one it needs is not there.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise missing(error, purpose, extra, module) from None


def missing(
    error: ImportError, purpose: str, extra: str, module: str = "a package"
) -> ConvgymError:
    """Return what to tell a user who lacks a package: which, for what, and what to install."""
    package = (error.name or module).partition(".")[0]
    return ConvgymError(
        f"{purpose} needs {package}, which is not installed: {install_command(extra)}"
    )
