"""Gradients that several processes share, as ``accelerate launch`` or ``torchrun`` starts them.

All processes do the same from the same seeds, but for the gradient of a minibatch: each computes
that of its share of the conversations, and all take the step down the sum. So they hold the same
weights throughout, those of one process but for rounding, and only the first one writes. A process
that is alone feels nothing of this.
"""

from __future__ import annotations

import atexit
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

import torch
from torch import Tensor, distributed

from convgym.agents.launcher import launched
from convgym.errors import ConvgymError

T = TypeVar("T")


def join() -> None:
    """Meet the other processes that a launcher started, if there are any.

    Raises:
        ConvgymError: if they are not met: each would do everything, and write over the others.
    """
    if launched() > 1 and not distributed.is_initialized():
        from accelerate import PartialState

        # Also says on which GPU this process computes.
        PartialState(cpu=not torch.cuda.is_available())
        atexit.register(leave)
        if count() != launched():
            raise ConvgymError(
                f"a launcher started {launched()} processes, of which {count()} met: start them by"
                " torchrun, or accelerate launch on several GPUs"
            )


def leave() -> None:
    """Take leave of the others: threads that still listen to them would abort the program's end."""
    if distributed.is_available() and distributed.is_initialized():
        distributed.destroy_process_group()


def count() -> int:
    """Return how many processes share gradients."""
    joined = distributed.is_available() and distributed.is_initialized()
    return distributed.get_world_size() if joined else 1


def number() -> int:
    """Return which of them this is, from 0."""
    return distributed.get_rank() if count() > 1 else 0


def own_share(n: int) -> tuple[slice, float]:
    """Return this process's share of n things, and its weight.

    Where there are fewer things than processes, some compute the first with a weight of 0: all must
    take part in the sum.
    """
    share = slice(n * number() // count(), n * (number() + 1) // count())
    return (share, 1.0) if share.stop > share.start else (slice(0, 1), 0.0)


def own_parts(parts: Sequence[T]) -> tuple[Sequence[T], float]:
    """Return this process's share of some parts, and its weight; see ``own_share``."""
    share, weight = own_share(len(parts))
    return parts[share], weight


def summed(terms: Sequence[Tensor]) -> list[Tensor]:
    """Return numbers, each the sum of what all processes have."""
    if count() == 1:
        return list(terms)
    together = torch.stack([term.double() for term in terms])
    distributed.all_reduce(together)
    return [*together.to(terms[0].dtype)]


def total(value: float, device: torch.device) -> float:
    """Return the sum of what all processes have; ``device`` is where they compute."""
    return float(summed([torch.tensor(value, dtype=torch.float64, device=device)])[0])


def share_gradients(parameters: Iterable[torch.nn.Parameter]) -> None:
    """Have every process hold the sum of all gradients."""
    if count() == 1:
        return
    for parameter in parameters:
        if parameter.grad is not None:
            distributed.all_reduce(parameter.grad)


def on_first(compute: Callable[[], T]) -> T:
    """Return what ``compute`` returns in the first process, which alone calls it.

    Raises:
        ConvgymError: everywhere, if it was raised there.
    """
    if count() == 1:
        return compute()
    box: list[tuple[bool, T | str]] = []
    if number() == 0:
        try:
            box = [(True, compute())]
        except ConvgymError as error:
            box = [(False, str(error))]
    else:
        box = [(False, "")]
    distributed.broadcast_object_list(box)
    done, answer = box[0]
    if not done:
        raise ConvgymError(str(answer))
    return answer  # type: ignore[return-value]
