"""Where and how precisely models compute: devices, number types and batch sizes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

from convgym.errors import ConvgymError

Dtype = Literal["auto", "float32", "bfloat16"]
DTYPES: tuple[Dtype, ...] = ("auto", "float32", "bfloat16")
_COMPUTE_DTYPE = "convgym_compute_dtype"


def find_device(name: str) -> torch.device:
    """Return a device by name: ``cpu``, ``cuda``, ``cuda:1``, ``mps``, or ``auto`` for the best.

    Raises:
        ConvgymError: for a name that is none, or a device that this machine lacks.
    """
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
    except (RuntimeError, TypeError):
        raise ConvgymError(
            f"unknown device {name!r}: expected auto, cpu, cuda, cuda:1 or mps"
        ) from None
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ConvgymError(
            f"device {name!r} is not there: this machine shows {torch.cuda.device_count()} CUDA "
            "devices to this torch; use device='cpu' or 'auto'"
        )
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise ConvgymError(f"device {name!r} is not there: use device='cpu' or 'auto'")
    if device.type not in ("cpu", "cuda", "mps"):
        raise ConvgymError(f"device {name!r} is not supported: use auto, cpu, cuda, cuda:1 or mps")
    return device


@dataclass(frozen=True, slots=True)
class BatchSizes:
    """How much is computed at once where nothing is learned from it; only speed depends on it."""

    generation: int
    """Conversations that are held together."""
    reading: int
    """Conversations in one forward pass."""
    branching: int
    """Conversations to whose states responses are sampled together."""
    packing: int
    """Conversations that are read, each with many responses, in one forward pass."""

    @classmethod
    def of(cls, device: torch.device, generation: int | None = None) -> BatchSizes:
        """Return the sizes that suit a device; ``generation`` as given."""
        sizes = (256, 64, 32, 16) if device.type == "cpu" else (1024, 256, 256, 64)
        return cls(generation or sizes[0], *sizes[1:])


def has_bfloat16(device: torch.device) -> bool:
    """Tell whether a device multiplies in bfloat16."""
    if device.type == "cuda":
        supported: bool = torch.cuda.is_bf16_supported(including_emulation=False)
        return supported
    if device.type == "mps":
        return False
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()


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
