"""Packages of extras, told by name where they are not installed."""

from __future__ import annotations

import importlib
from typing import Any

from convgym.errors import ConvgymError


def load(module: str, purpose: str, extra: str) -> Any:
    """Return a module of an extra.

    Raises:
        ConvgymError: that says what to install, if the module or one it needs is not there.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = (error.name or module).partition(".")[0]
        raise ConvgymError(
            f"{purpose} needs {package}, which is not installed: pip install 'convgym[{extra}]'"
        ) from None
