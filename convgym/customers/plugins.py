"""Customers that other installed packages bring along, found by their entry points.

A package names its customers in its ``pyproject.toml``::

    [project.entry-points."convgym.customers"]
    bookshop = "convgym_bookshop:Bookshop"

Nothing is imported before somebody asks for the name.
"""

from __future__ import annotations

import warnings
from collections.abc import Collection
from typing import TYPE_CHECKING, Any

from convgym.errors import ConvgymError

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint, EntryPoints

GROUP = "convgym.customers"


def plugin_names(own: Collection[str]) -> list[str]:
    """Return the names that installed packages bring, having warned of those that are ``own``."""
    found = _plugins()
    for plugin in found:
        if plugin.name in own:
            warnings.warn(
                f"{_package(plugin)} brings a customer {plugin.name!r}, a name of convgym's own:"
                f" it is left out, ask for it as {plugin.value!r}",
                stacklevel=3,
            )
    return sorted({plugin.name for plugin in found} - set(own))


def load_plugin(name: str) -> Any:
    """Return what the package that brings the customer ``name`` offers as its factory.

    Raises ConvgymError if two packages bring that name, or if theirs cannot be imported.
    """
    plugins = list(_plugins().select(name=name))
    if len(plugins) > 1:
        packages = " and ".join(sorted(map(_package, plugins)))
        raise ConvgymError(
            f"{packages} both bring a customer {name!r}: uninstall one, or ask for one as"
            f" {' or '.join(repr(plugin.value) for plugin in plugins)}"
        )
    (plugin,) = plugins
    try:
        return plugin.load()
    except Exception as error:  # whatever a foreign module raises while it is imported
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise ConvgymError(
            f"{_package(plugin)} brings the customer {name!r}, but {plugin.value!r} cannot be"
            f" imported: {reason}"
        ) from error


def _plugins() -> EntryPoints:
    from importlib.metadata import entry_points  # costs more than the rest of the import

    return entry_points(group=GROUP)


def _package(plugin: EntryPoint) -> str:
    return f"package {plugin.dist.name if plugin.dist else plugin.module}"
