"""Ask customers that wait for something without waiting for them.

Their coroutines run in one event loop for the whole process, in a thread of its own: that works
where the caller has a loop already, as in a notebook, and connections may be shared by customers.
"""

from __future__ import annotations

import asyncio
import atexit
import inspect
import os
import threading
from collections.abc import Coroutine
from concurrent.futures import Future
from functools import lru_cache
from typing import Any, TypeVar, cast

from convgym.background import BackgroundLoop
from convgym.customers.base import Concurrent, Customer, Reply
from convgym.errors import OwnError

T = TypeVar("T")

_LOCK = threading.Lock()
_LOOPS: dict[int, BackgroundLoop] = {}
"""The loop of this process, by its number: threads do not fork."""


def is_async(customer: object) -> bool:
    """Return whether ``customer`` follows ``AsyncCustomer``: a method of it is a coroutine."""
    kind: Any = type(customer)  # hashable, whatever it is
    return _class_is_async(kind) if hasattr(kind, "respond") else _has_coroutines(customer)


def _has_coroutines(customer: object) -> bool:
    methods = (getattr(customer, name, None) for name in ("reset", "respond"))
    return any(map(inspect.iscoroutinefunction, methods))


_class_is_async = lru_cache(maxsize=64)(_has_coroutines)  # rollouts ask with every turn


def is_concurrent(customer: object) -> bool:
    """Return whether ``customer`` can be asked without waiting for it."""
    return is_async(customer) or getattr(customer, "concurrent", False) is True


async def reset_soon(customer: Customer, seed: int, **options: Any) -> str:
    """Do ``reset`` of a customer that is concurrent."""
    if not is_async(customer):
        return await cast("Any", customer).reset_async(seed, **options)  # type: ignore[no-any-return]
    return cast("str", await _result(cast("Any", customer).reset(seed, **options)))


async def respond_soon(customer: Customer, utterance: str) -> Reply:
    """Do ``respond`` of a customer that is concurrent."""
    if not is_async(customer):
        return await cast("Concurrent", customer).respond_async(utterance)
    return cast("Reply", await _result(customer.respond(utterance)))


async def _result(given: Any) -> object:
    return await given if inspect.isawaitable(given) else given


def reset_now(customer: Customer, seed: int, **options: Any) -> str:
    """Do ``reset`` of any customer, and wait for it."""
    if is_async(customer):
        return submit(reset_soon(customer, seed, **options)).result()
    return cast("Any", customer).reset(seed, **options)  # type: ignore[no-any-return]


def respond_now(customer: Customer, utterance: str) -> Reply:
    """Do ``respond`` of any customer, and wait for it."""
    if is_async(customer):
        return submit(respond_soon(customer, utterance)).result()
    return customer.respond(utterance)


def close_now(customer: object) -> None:
    """Close a customer if it can be closed, by a method or a coroutine."""
    close = getattr(customer, "close", None)
    closing = None if close is None else close()
    if inspect.iscoroutine(closing):
        submit(closing).result()


def submit(coroutine: Coroutine[Any, Any, T]) -> Future[T]:
    """Start a coroutine in the event loop of all customers, and return its future."""
    with _LOCK:
        loop = _LOOPS.get(os.getpid())
        if loop is None:
            _LOOPS.clear()
            loop = _LOOPS[os.getpid()] = BackgroundLoop("convgym-customers")
            atexit.register(_stop, os.getpid())
    return loop.submit(_kept_in(coroutine))


async def _kept_in(coroutine: Coroutine[Any, Any, T]) -> T:
    """Await what would end the loop otherwise, with all others who wait in it."""
    try:
        return await coroutine
    except SystemExit as error:
        raise OwnError("a customer ended the program (SystemExit)") from error


def _stop(process: int) -> None:
    loop = _LOOPS.pop(process, None)
    if loop is not None and process == os.getpid():
        loop.stop(asyncio.sleep(0))
