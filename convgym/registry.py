"""Things by name: what convgym ships, what a program registers, what installed packages bring.

A spec is, in the order in which it is looked up,

- a name given to ``Registry.register``;
- a name that convgym ships;
- a name that an installed package brings by an entry point in its ``pyproject.toml``::

      [project.entry-points."convgym.customers"]
      bookshop = "convgym_bookshop:Reader"

- a family that convgym ships and what it is to be made of: ``"openai:gpt-4o-mini"``;
- or ``"package.module:attribute"``, which needs no registration.

Nothing is imported, and nobody looks for packages, before somebody asks.
"""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial, reduce
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

from convgym.errors import ConvgymError, nearest, unknown
from convgym.installing import install_command

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Entry:
    """Something that convgym ships, named but not imported."""

    target: str
    """Where it is: ``"package.module:attribute"``."""
    summary: str
    """What it is, in one line."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Settings that make this name differ from others of the same target."""
    argument: str = ""
    """Of a family: what stands behind its colon, ``MODEL`` say. It is the first argument."""


class Registry(Generic[T]):
    """The things of one kind, by name: nothing is imported before it is asked for.

    ``resolve(spec)`` returns the class or factory, ``names`` and ``summary`` tell what there is,
    ``register`` adds a name in this process::

        CUSTOMERS.register("gardener", Gardener)  # or "my_package.customers:Gardener"
        CUSTOMERS.resolve("gardener")

    What ships is a line in the ``shipped`` of its registry: ``CUSTOMERS`` (``convgym.customers``),
    ``BACKENDS`` (``convgym.llm.registry``), ``SELLERS`` (``convgym.sellers.registry``), ``AGENTS``
    (``convgym.agents``), ``IMPROVEMENTS`` (``convgym.agents.improvement.registry``).

    Args:
        kind: what one is called, in messages.
        group: the group of entry points by which packages bring theirs.
        shipped: what convgym itself has, by name.
        check: given what was found and its spec, returns it if it is of this kind, or raises
            ConvgymError.
        extra: what to install for a package that something shipped lacks.
        families: factories by name that take what stands behind a colon.

    Raises:
        ConvgymError: from its methods, for a name that is unknown or that two packages bring, for
            what cannot be imported, and for what is not of this kind; in one line.
    """

    def __init__(
        self,
        kind: str,
        group: str,
        shipped: Mapping[str, Entry],
        check: Callable[[object, str], T],
        extra: str = "train",
        families: Mapping[str, Entry] | None = None,
    ) -> None:
        self.kind, self.group = kind, group
        self.shipped: Mapping[str, Entry] = MappingProxyType(dict(shipped))
        self._families = dict(families or {})
        self._patterns = {
            f"{name}:{entry.argument}": entry for name, entry in self._families.items()
        }
        self._check, self._extra = check, extra
        self._registered: dict[str, T | str] = {}
        self._loaded: dict[str, T] = {}

    def register(self, name: str, thing: T | str) -> None:
        """Make ``thing``, or what stands at ``"package.module:attribute"``, known as ``name``.

        In this process alone: what other processes are to find stands in a module or a package.
        A name that is taken gets the new thing. Raises ConvgymError for a name with a colon, which
        would be read as a module.
        """
        if not name or ":" in name:
            raise ConvgymError(
                f"{self._a_kind()}'s name must be words without a colon, got {name!r}"
            )
        self._registered[name] = thing

    def names(self) -> list[str]:
        """Return all known names in order, having warned of packages that claim one of ours."""
        plugins = self._plugins()
        for name in sorted(plugins.keys() & self.shipped.keys()):
            for plugin in plugins[name]:
                warnings.warn(
                    f"{_package(plugin)} brings {self._a_kind()} {name!r}, a name of convgym's own:"
                    f" it is left out, ask for it as {plugin.value!r}",
                    stacklevel=2,
                )
        return sorted({*self._registered, *self.shipped, *plugins, *self._patterns})

    def summary(self, name: str) -> str:
        """Return one line on what ``name`` is, without importing it; ConvgymError if unknown."""
        if name in self._registered:
            given = self._registered[name]
            return given if isinstance(given, str) else _first_line(given)
        if name in self.shipped or name in self._patterns:
            return {**self.shipped, **self._patterns}[name].summary
        if self.is_of_family(name):
            return self._families[name.partition(":")[0]].summary
        plugins = self._plugins().get(name)
        if not plugins:
            raise unknown(self.kind, name, self.names())
        if len(plugins) > 1:
            return str(self._twins(name, plugins))
        about = plugins[0].dist.metadata["Summary"] if plugins[0].dist else None
        return f"{about} ({_package(plugins[0])})" if about else f"of {_package(plugins[0])}"

    def settings(self, spec: str) -> Mapping[str, Any]:
        """Return the settings that belong to a shipped name; none for anything else."""
        shipped = spec in self.shipped and spec not in self._registered
        return self.shipped[spec].settings if shipped else {}

    def is_of_family(self, spec: str) -> bool:
        """Return whether ``spec`` is a family's, such as ``"openai:gpt-4o-mini"``."""
        family, colon, _ = spec.partition(":")
        return bool(colon) and family in self._families

    def require_known(self, spec: object) -> str:
        """Return ``spec`` if it is a known name, or well formed, without importing anything.

        Raises:
            ConvgymError: that names what is known.
        """
        if not isinstance(spec, str):
            raise ConvgymError(f"expected {self._a_kind()} by name, got {spec!r}")
        if self.is_of_family(spec):
            family, _, argument = spec.partition(":")
            if not argument.strip() or not argument.isprintable():
                wanted = f"{family}:{self._families[family].argument}"
                raise ConvgymError(f"expected {self._a_kind()} as {wanted!r}, got {spec!r}")
        elif ":" in spec:
            if not all(part.isidentifier() for part in spec.replace(":", ".", 1).split(".")):
                raise ConvgymError(
                    f"expected {self._a_kind()} as 'package.module:attribute', got {spec!r}"
                )
        elif not (spec in self._registered or spec in self.shipped or spec in self._loaded):
            known = self.names()
            if spec not in known:
                raise unknown(self.kind, spec, known)
        return spec

    def resolve(self, spec: str) -> T:
        """Return what ``spec`` stands for.

        Raises:
            ConvgymError: if the name is unknown or two packages bring it, if what it names cannot
                be imported, or is not of this kind.
        """
        self.require_known(spec)
        if self.is_of_family(spec):
            family, _, argument = spec.partition(":")
            factory = self._check(self._import(spec, self._families[family].target), spec)
            return cast(T, partial(cast("Callable[..., Any]", factory), argument))
        if ":" in spec:
            return self._check(self._import(spec, spec), spec)
        if spec in self._registered:
            thing = self._registered[spec]
            return self._check(self._import(spec, thing) if isinstance(thing, str) else thing, spec)
        if spec in self.shipped:
            return self._check(self._import(spec, self.shipped[spec].target), spec)
        if spec not in self._loaded:
            self._loaded[spec] = self._check(self._load_plugin(spec), spec)
        return self._loaded[spec]

    def _import(self, spec: str, path: str) -> object:
        module, _, attribute = path.partition(":")
        try:
            imported = importlib.import_module(module)
            try:
                return reduce(getattr, attribute.split("."), cast(object, imported))
            except AttributeError:
                raise ConvgymError(
                    f"module {module!r} has no {self.kind} {attribute!r}"
                    f"{nearest(attribute, vars(imported))}"
                ) from None
        except ConvgymError:
            raise
        except (Exception, SystemExit) as error:  # whatever a foreign module raises
            absent = error.name if isinstance(error, ModuleNotFoundError) else None
            if spec != path and absent and absent.partition(".")[0] != "convgym":
                raise ConvgymError(
                    f"{self.kind} {spec!r} needs the package {absent}: install it, for what comes"
                    f" with convgym by {install_command(self._extra)}"
                ) from error
            raise ConvgymError(
                f"cannot import the {self.kind} {spec!r}: {_reason(error)}"
            ) from error

    def _load_plugin(self, name: str) -> object:
        plugins = self._plugins()[name]
        if len(plugins) > 1:
            raise self._twins(name, plugins)
        (plugin,) = plugins
        try:
            return plugin.load()
        except (Exception, SystemExit) as error:  # whatever a foreign module raises
            raise ConvgymError(
                f"{_package(plugin)} brings the {self.kind} {name!r}, but {plugin.value!r} cannot"
                f" be imported: {_reason(error)}"
            ) from error

    def _plugins(self) -> dict[str, list[EntryPoint]]:
        from importlib.metadata import entry_points  # costs more than the rest of the import

        plugins: dict[str, list[EntryPoint]] = {}
        for plugin in entry_points(group=self.group):
            plugins.setdefault(plugin.name, []).append(plugin)
        return plugins

    def _twins(self, name: str, plugins: list[EntryPoint]) -> ConvgymError:
        packages = " and ".join(sorted(map(_package, plugins)))
        values = " or ".join(repr(plugin.value) for plugin in plugins)
        return ConvgymError(
            f"{packages} both bring {self._a_kind()} {name!r}: uninstall one, or ask for one as"
            f" {values}"
        )

    def _a_kind(self) -> str:
        return f"{'an' if self.kind[0] in 'aeiou' else 'a'} {self.kind}"


def _package(plugin: EntryPoint) -> str:
    return f"package {plugin.dist.name if plugin.dist else plugin.module}"


def _reason(error: BaseException) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())


def _first_line(thing: object) -> str:
    lines = (getattr(thing, "__doc__", None) or "").strip().splitlines()
    return lines[0] if lines else getattr(thing, "__qualname__", type(thing).__qualname__)
