"""How precisely policies compute, and how much at once; see ``convgym.llm.local.devices``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import nn

from convgym.llm.local.devices import Dtype, has_bfloat16

_COMPUTE_DTYPE = "convgym_compute_dtype"


@dataclass(frozen=True, slots=True)
class BatchSizes:
    """How much is computed at once where nothing is learned from it.

    Speed and memory depend on it, and rounding; what is drawn does too, since all conversations of
    a batch share one stream of random numbers.
    """

    generation: int
    """Conversations that are held together."""
    reading: int
    """Conversations in one forward pass."""
    branching: int
    """Conversations to whose states responses are sampled together."""
    packing: int
    """Conversations that are read, each with many responses, in one forward pass."""

    @classmethod
    def of(
        cls, device: torch.device, generation: int | None = None, reading: int | None = None
    ) -> BatchSizes:
        """Return the sizes that suit a device, or as given; the smaller ones go by ``reading``."""
        suitable = (256, 64) if device.type == "cpu" else (1024, 256)
        reading = reading or suitable[1]
        return cls(generation or suitable[0], reading, max(1, reading // 2), max(1, reading // 4))


def frozen_dtype(dtype: Dtype, device: torch.device) -> torch.dtype:
    """Return the number type of weights that are not trained.

    ``auto`` is bfloat16 where the device has instructions for it: without them it is many times
    slower than float32.
    """
    if dtype == "auto":
        return torch.bfloat16 if has_bfloat16(device) else torch.float32
    return torch.bfloat16 if dtype == "bfloat16" else torch.float32


def set_precision(network: nn.Module, dtype: Dtype) -> None:
    """Have a network's trained weights stay float32 and its products be computed in ``dtype``.

    ``auto`` is float32 here: what is sampled and what is trained should agree to the last digits.
    """
    for module in network.modules():
        # Kept on the module: copies, critics and Q-functions compute as the original does.
        setattr(module, _COMPUTE_DTYPE, torch.bfloat16 if dtype == "bfloat16" else None)


def computes_in_bfloat16(module: nn.Module) -> bool:
    """Tell whether a module's products are computed in bfloat16."""
    dtype: torch.dtype | None = getattr(module, _COMPUTE_DTYPE, None)
    return dtype is torch.bfloat16


@contextmanager
def computing(module: nn.Module, device: torch.device) -> Iterator[None]:
    """Compute with a module's precision, see ``set_precision``."""
    if not computes_in_bfloat16(module):
        yield
        return
    with torch.autocast(device.type, dtype=torch.bfloat16):
        yield
