"""Customers whose ``respond`` blocks, such as a slow simulator: each answers in a thread."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar, cast

from convgym.checks import check_integer
from convgym.contracts import described
from convgym.customers import CUSTOMERS, CustomerFactory, CustomerSpec, make_customer
from convgym.customers.base import Customer, Reply, Snapshottable, is_snapshottable
from convgym.customers.concurrently import close_now, is_concurrent
from convgym.errors import ConvgymError

T = TypeVar("T")


class ThreadedCustomer:
    """A customer that is asked in another thread, and as it was otherwise."""

    def __init__(self, inner: Customer, pool: ThreadPoolExecutor) -> None:
        self.inner, self._pool = inner, pool

    def __getattr__(self, name: str) -> Any:
        if name == "inner":  # a copy under way
            raise AttributeError(name)
        return getattr(self.inner, name)

    @property
    def fingerprint(self) -> str:
        """The inner customer's: threads change nothing of what it says."""
        return self.inner.fingerprint

    @property
    def latent(self) -> dict[str, Any]:
        """The inner customer's hidden state."""
        return self.inner.latent

    async def reset(self, seed: int, profile: Mapping[str, Any] | None = None) -> str:
        """Do the inner customer's ``reset`` in a thread."""
        reset = cast("Callable[..., str]", self.inner.reset)
        return await self._run(
            partial(reset, seed) if profile is None else partial(reset, seed, profile=profile)
        )

    async def respond(self, utterance: str) -> Reply:
        """Do the inner customer's ``respond`` in a thread."""
        return await self._run(partial(self.inner.respond, utterance))

    async def _run(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._pool, work)

    def close(self) -> None:
        """Close the inner customer if it can be closed."""
        close_now(self.inner)


class SnapshottableThreadedCustomer(ThreadedCustomer):
    """The same round a customer whose state can be copied."""

    inner: Snapshottable

    def snapshot(self) -> object:
        """Return a copy of the inner customer's state."""
        return self.inner.snapshot()

    def restore(self, state: object, seed: int | None = None) -> None:
        """Go back to a snapshot; with ``seed``, go on with fresh randomness."""
        self.inner.restore(state, seed)


def threaded(customer: CustomerSpec, n: int) -> CustomerFactory:
    """Return a factory of the same customers, up to ``n`` of whom answer at once.

    For customers whose ``respond`` waits for something in the ordinary way, such as a server that
    is asked by a blocking client: conversations go on while others are answered. Each customer is
    asked by one thread at a time; what customers share must bear several. Pure Python that computes
    gains nothing, as threads take turns at that.

    Args:
        customer: as for ``make_customer``, but not a customer object: it holds one conversation.
        n: threads, 1 or more; those of one factory are shared by all its customers.

    Raises:
        ConvgymError: for a mistake in these; the factory raises it for customers that need no
            threads, as they are ``AsyncCustomer`` or ``Concurrent`` already.
    """
    n = check_integer("threads", n, 1)
    factory = CUSTOMERS.resolve(customer) if isinstance(customer, str) else customer
    if not callable(factory) or (not isinstance(factory, type) and hasattr(factory, "respond")):
        raise ConvgymError(
            f"threaded needs a customer's class, factory or name, got {described(customer)}"
        )
    pools: dict[int, ThreadPoolExecutor] = {}

    def make(**options: Any) -> Customer:
        inner = make_customer(factory, **options)
        if is_concurrent(inner):
            raise ConvgymError(
                f"customer {type(inner).__name__} needs no threads, it is asked without waiting"
                " as it is: leave out threaded"
            )
        process = os.getpid()  # threads do not fork
        if process not in pools:
            pools[process] = ThreadPoolExecutor(n, thread_name_prefix="convgym-customer")
        copied = is_snapshottable(inner)
        kind = SnapshottableThreadedCustomer if copied else ThreadedCustomer
        return cast("Customer", kind(inner, pools[process]))

    make.__name__ = f"threaded({getattr(factory, '__name__', repr(factory))}, {n})"
    make.law = getattr(factory, "law", None)  # type: ignore[attr-defined]
    return make
