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


class Threads:
    """``n`` threads, begun when they are first needed; copies begin their own."""

    def __init__(self, n: int) -> None:
        self.n = n
        self._pools: dict[int, ThreadPoolExecutor] = {}

    def __reduce__(self) -> tuple[Any, ...]:
        return Threads, (self.n,)

    @property
    def pool(self) -> ThreadPoolExecutor:
        """Those of this process: threads do not fork."""
        process = os.getpid()
        if process not in self._pools:
            self._pools[process] = ThreadPoolExecutor(self.n, thread_name_prefix="convgym-customer")
        return self._pools[process]


class ThreadedCustomer:
    """A customer that is asked in another thread, and as it was otherwise."""

    def __init__(self, inner: Customer, threads: Threads) -> None:
        self.inner, self._threads = inner, threads

    def __getattr__(self, name: str) -> Any:
        # Before it has one, a copy is under way, which is not the inner customer's business.
        if name == "inner" or name.startswith("__"):
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
        return await asyncio.get_running_loop().run_in_executor(self._threads.pool, work)

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


class _Factory:
    """Makes customers that are asked in the same threads."""

    def __init__(self, customer: CustomerFactory, n: int) -> None:
        self._customer, self._threads = customer, Threads(n)
        self.__name__ = f"threaded({getattr(customer, '__name__', repr(customer))}, {n})"
        self.law = getattr(customer, "law", None)

    def __call__(self, **options: Any) -> Customer:
        inner = make_customer(self._customer, **options)
        if is_concurrent(inner):
            raise ConvgymError(
                f"customer {type(inner).__name__} needs no threads, it is asked without waiting"
                " as it is: leave out threaded"
            )
        copied = is_snapshottable(inner)
        kind = SnapshottableThreadedCustomer if copied else ThreadedCustomer
        return cast("Customer", kind(inner, self._threads))


def threaded(customer: CustomerSpec, n: int) -> CustomerFactory:
    """Return a factory of the same customers, up to ``n`` of whom answer at once.

    For customers whose ``respond`` waits for something in the ordinary way, such as a server that
    is asked by a blocking client: conversations go on while others are answered. Each customer is
    asked by one thread at a time; what customers share must bear several. Pure Python that computes
    gains nothing, as threads take turns at that. Factory and customers can be pickled and copied
    where the customers themselves can; threads of their own begin in the copy.

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
    return _Factory(factory, n)
