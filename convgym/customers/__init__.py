"""Customers: the simulators that a seller talks to, found by name or brought along."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias, cast

from convgym.contracts import call, described, require
from convgym.customers.base import (
    AsyncCustomer,
    Batched,
    Concurrent,
    Customer,
    Decision,
    Reply,
    Snapshottable,
)
from convgym.errors import ConvgymError
from convgym.registry import Entry, Registry

__all__ = [
    "CUSTOMERS",
    "AsyncCustomer",
    "Batched",
    "Concurrent",
    "Customer",
    "CustomerFactory",
    "CustomerSpec",
    "Decision",
    "Reply",
    "Snapshottable",
    "customer_law",
    "customer_names",
    "make_customer",
    "register_customer",
]

CustomerFactory: TypeAlias = Callable[..., Customer | AsyncCustomer]
"""A class of customers, or anything else that returns one when it is called with its options."""
CustomerSpec: TypeAlias = str | Customer | AsyncCustomer | CustomerFactory
"""A registered name, ``"package.module:factory"``, a customer, or a factory of customers."""


def _factory(thing: object, spec: str) -> CustomerFactory:
    if not callable(thing):
        raise ConvgymError(f"customer {spec!r} must be a factory, got {described(thing)}")
    return cast(CustomerFactory, thing)


CUSTOMERS: Registry[CustomerFactory] = Registry(
    "customer",
    "convgym.customers",
    {
        "human": Entry("convgym.customers.human:HumanCustomer", "you, at the terminal"),
        "hybrid": Entry(
            "convgym.customers.llm.hybrid:HybridCustomer",
            "a chat model's words on the scripted customer's decisions",
        ),
        "learned": Entry(
            "convgym.agents.customers.learned:LearnedCustomer",
            "a small language model that imitates the scripted customer, and decides itself",
        ),
        "llm": Entry(
            "convgym.customers.llm.customer:LLMCustomer",
            "a chat model that plays a customer and decides itself",
        ),
        "llm-fitted": Entry(
            "convgym.customers.llm.fitted:FittedCustomer",
            "a chat model behind a server that was fitted to the shopper, and decides itself",
        ),
        "replay": Entry(
            "convgym.customers.replay:ReplayCustomer", "says what customers of a log said"
        ),
        "scripted": Entry(
            "convgym.customers.scripted.customer:ScriptedCustomer",
            "hidden need, budget, objections and patience; fast and exact (the default)",
        ),
        "shopper": Entry(
            "convgym.customers.shopper.customer:ShopperCustomer",
            "asks, haggles, hesitates and says why; the customer of Sales-v1",
        ),
        "smollm2-customer": Entry(
            "convgym.agents.customers.learned:SmolLM2Customer",
            "SmolLM2-135M with adapters that imitates the shopper, and decides itself",
        ),
        "suggested": Entry(
            "convgym.customers.suggested:suggested",
            "a customer behind a business that sends, edits or ignores suggestions",
        ),
    },
    _factory,
    extra="llm,train",
)
"""Customers by name."""


def register_customer(name: str, factory: str | CustomerFactory) -> None:
    """Make ``factory``, or what is at ``"package.module:factory"``, known; see ``Registry``."""
    CUSTOMERS.register(name, factory)


def customer_names() -> list[str]:
    """Return the names that ``make_customer`` knows, those of installed packages included."""
    return CUSTOMERS.names()


def make_customer(spec: CustomerSpec = "scripted", **options: Any) -> Customer:
    """Return a customer; one that is an ``AsyncCustomer`` is asked by ``customers.concurrently``.

    Args:
        spec: a registered name, or one that an installed package brings
            (``convgym.registry``); ``"package.module:factory"``; a factory (a class or
            any other callable that returns a customer); or a customer, returned as it is.
        **options: passed on to the factory.

    Raises:
        ConvgymError: if the name is unknown, the module cannot be imported, the factory does not
            take an option, or what it makes is no customer.
    """
    factory = CUSTOMERS.resolve(spec) if isinstance(spec, str) else spec
    if isinstance(factory, type) or (callable(factory) and not hasattr(factory, "respond")):
        name = getattr(factory, "__name__", repr(factory))
        made = call(cast(CustomerFactory, factory), options, f"customer {name}")
        customer = cast(Customer, made)
    elif options:
        raise ConvgymError(
            f"a customer object takes no options, got {', '.join(options)}: pass its class instead"
        )
    else:
        customer = cast(Customer, factory)
    require(customer, Customer, f"{described(customer)} is no customer")
    return customer


def customer_law(environment: Mapping[str, Any] | None) -> str | None:
    """Return by which law the customers of these options of ``SalesEnv`` buy, if they say it.

    It is the attribute ``law`` of the customer, or of the one behind a business (``inner``): which
    reference sellers know how to talk to it (``convgym.sellers.make_seller``).
    """
    options = environment or {}
    more = options.get("customer_options") or {}
    for spec in (options.get("customer"), more.get("inner")):
        known = isinstance(spec, str) and (":" in spec or spec in CUSTOMERS.shipped)
        customer = CUSTOMERS.resolve(spec) if known and isinstance(spec, str) else spec
        law = getattr(getattr(customer, "func", customer), "law", None)
        if isinstance(law, str):
            return law
    return None
