"""Ask several customers at once, and wait for all of them.

Those that wait for something are asked side by side, those that are ``Batched`` together, and the
others in turn.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence, Sized
from concurrent.futures import Future, wait
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from convgym.customers.base import Customer, Reply
from convgym.customers.concurrently import is_concurrent, reset_soon, respond_soon, submit
from convgym.errors import ConvgymError, InfrastructureError

if TYPE_CHECKING:
    from convgym.customers.base import Batched

Opening: TypeAlias = str | Exception
Answer: TypeAlias = Reply | Exception
"""What a customer says, or why it says nothing: its backend failed (InfrastructureError), or its
own code raised anything else."""

_In = TypeVar("_In")
_Out = TypeVar("_Out")


def is_batched(customer: Customer) -> bool:
    """Return whether ``customer`` follows ``Batched``."""
    # Of the class: before the first reset a property may not be readable on the object.
    kind = type(customer)
    return hasattr(kind, "respond_together") and hasattr(kind, "reset_together")


def reset_customers(customers: Sequence[Customer], seeds: Sequence[int]) -> list[Opening]:
    """Reset each customer with its seed and return their openings, errors in their place."""
    return _ask(customers, seeds, lambda c: c.reset, lambda kind: kind.reset_together, reset_soon)


def respond_customers(customers: Sequence[Customer], utterances: Sequence[str]) -> list[Answer]:
    """Say each customer its utterance and return their replies, errors in their place."""
    return _ask(
        customers,
        utterances,
        lambda c: c.respond,
        lambda kind: kind.respond_together,
        respond_soon,
    )


def _ask(
    customers: Sequence[Customer],
    inputs: Sequence[_In],
    alone: Callable[[Customer], Callable[[_In], _Out]],
    together: Callable[[type[Batched]], Callable[[Any, Any], list[_Out | InfrastructureError]]],
    soon: Callable[[Customer, _In], Coroutine[Any, Any, _Out]],
) -> list[_Out | Exception]:
    answers: list[Any] = [None] * len(customers)
    batches: dict[Any, list[int]] = {}
    under_way: dict[int, Future[_Out]] = {}
    for i, customer in enumerate(customers):
        if is_concurrent(customer):
            under_way[i] = submit(soon(customer, inputs[i]))
            continue
        if is_batched(customer):
            batches.setdefault(type(customer), []).append(i)
            continue
        try:
            answers[i] = alone(customer)(inputs[i])
        except Exception as error:  # the others are asked all the same
            answers[i] = error
    for kind, members in batches.items():
        results: Any
        # Other errors go straight out: kept in a list, they would keep what their frames hold, such
        # as a chat model, alive.
        try:
            results = together(kind)([customers[i] for i in members], [inputs[i] for i in members])
        except InfrastructureError as error:  # of all of them
            results = [error] * len(members)
        if not isinstance(results, (list, tuple)) or len(results) != len(members):
            count = f" of length {len(results)}" if isinstance(results, Sized) else ""
            raise ConvgymError(
                f"customer {kind.__name__} must return an answer for each of {len(members)}"
                f" customers, in a list, got {type(results).__name__}{count}"
            )
        for i, answer in zip(members, results, strict=True):
            answers[i] = answer
    wait(under_way.values())
    for i, future in under_way.items():
        answers[i] = future.exception() or future.result()
    return answers
