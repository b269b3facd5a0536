"""Packages that a format needs, told by name where they are not installed."""

from __future__ import annotations

import importlib
from typing import Any

from convgym.errors import ConvgymError
from convgym.installing import install_command


def load(module: str, purpose: str) -> Any:
    """Return a module of the extra ``logs``.

    Raises:
        ConvgymError: that says what to install, if the module or one it needs is not there.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = (error.name or module).partition(".")[0]
        raise ConvgymError(
            f"{purpose} needs {package}, which is not installed: {install_command('logs')}"
        ) from None
