"""Customers: the simulators that a seller talks to, found by name or brought along."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable
from typing import Any, TypeAlias, cast

from convgym.customers.base import Batched, Customer, Decision, Reply, Snapshottable
from convgym.customers.plugins import load_plugin, plugin_names
from convgym.errors import ConvgymError, unknown

__all__ = [
    "Batched",
    "Customer",
    "CustomerFactory",
    "CustomerSpec",
    "Decision",
    "Reply",
    "Snapshottable",
    "customer_names",
    "make_customer",
    "register_customer",
]

CustomerFactory: TypeAlias = Callable[..., Customer]
CustomerSpec: TypeAlias = str | Customer | CustomerFactory

# Customers that come with the package are named, not imported, until somebody asks for them.
_FACTORIES: dict[str, str | CustomerFactory] = {
    "human": "convgym.customers.human:HumanCustomer",
    "hybrid": "convgym.customers.llm.hybrid:HybridCustomer",
    "llm": "convgym.customers.llm.customer:LLMCustomer",
    "replay": "convgym.customers.replay:ReplayCustomer",
    "scripted": "convgym.customers.scripted.customer:ScriptedCustomer",
    "suggested": "convgym.customers.suggested:suggested",
}
_OWN = frozenset(_FACTORIES)
_MEMBERS = ("fingerprint", "latent", "reset", "respond")


def register_customer(name: str, factory: str | CustomerFactory) -> None:
    """Make ``factory`` (a callable or ``"package.module:name"``) known as ``name``.

    A name that is taken gets the new factory. Raises ConvgymError for a name with a colon, which
    would be read as a module.
    """
    if not name or ":" in name:
        raise ConvgymError(f"a customer's name must be words without a colon, got {name!r}")
    _FACTORIES[name] = factory


def customer_names() -> list[str]:
    """Return the names that ``make_customer`` knows, those of installed packages included."""
    return sorted({*_FACTORIES, *plugin_names(_OWN)})


def make_customer(spec: CustomerSpec = "scripted", **options: Any) -> Customer:
    """Return a customer.

    Args:
        spec: a registered name, or one that an installed package brings
            (``convgym.customers.plugins``); ``"package.module:factory"``; a factory (a class or
            any other callable that returns a customer); or a customer, returned as it is.
        **options: passed on to the factory.

    Raises:
        ConvgymError: if the name is unknown, the module cannot be imported, the factory does not
            take an option, or what it makes is no customer.
    """
    factory = _resolve(spec) if isinstance(spec, str) else spec
    if isinstance(factory, type) or (callable(factory) and not hasattr(factory, "respond")):
        customer = _call(factory, options)
    elif options:
        raise ConvgymError(
            f"a customer object takes no options, got {', '.join(options)}: pass its class instead"
        )
    else:
        customer = cast(Customer, factory)
    missing = [member for member in _MEMBERS if not _has(customer, member)]
    if missing:
        raise ConvgymError(f"{_name(customer)} is no customer: it lacks {', '.join(missing)}")
    return customer


def _has(customer: object, member: str) -> bool:
    # The class first: before the first reset a property may not be readable on the object.
    return hasattr(type(customer), member) or hasattr(customer, member)


def _resolve(spec: str) -> CustomerFactory:
    if ":" in spec:
        return _import(spec)
    if spec not in _FACTORIES:
        known = customer_names()
        if spec not in known:
            raise unknown("customer", spec, known)
        register_customer(spec, _checked(load_plugin(spec), spec))
    factory = _FACTORIES[spec]
    return _import(factory) if isinstance(factory, str) else factory


def _import(path: str) -> CustomerFactory:
    module, _, name = path.partition(":")
    if not all(part.isidentifier() for part in [*module.split("."), name]):
        raise ConvgymError(f"expected a customer as 'package.module:factory', got {path!r}")
    try:
        found = getattr(importlib.import_module(module), name)
    except ImportError as error:
        raise ConvgymError(f"cannot import the customer {path!r}: {error}") from error
    except AttributeError:
        raise ConvgymError(f"module {module!r} has no customer {name!r}") from None
    return _checked(found, path)


def _checked(factory: object, name: str) -> CustomerFactory:
    if not callable(factory):
        raise ConvgymError(f"customer {name!r} must be a factory, got {_name(factory)}")
    return cast(CustomerFactory, factory)


def _call(factory: CustomerFactory, options: dict[str, Any]) -> Customer:
    try:
        signature = inspect.signature(factory)
    except ValueError:  # some builtins have none
        return factory(**options)
    # Checked beforehand, so that a TypeError from inside the factory keeps its traceback.
    try:
        signature.bind(**options)
    except TypeError as error:
        name = getattr(factory, "__name__", repr(factory))
        raise ConvgymError(f"cannot make customer {name}{signature}: {error}") from None
    return factory(**options)


def _name(thing: object) -> str:
    return f"{str(thing)[:60]!r} ({type(thing).__name__})"
