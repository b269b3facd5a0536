"""Where and how precisely models compute: devices and number types."""

from __future__ import annotations

import re
from typing import Literal

import torch

from convgym.errors import ConvgymError

Dtype = Literal["auto", "float32", "bfloat16"]
_NAME = re.compile(r"auto|(?:cpu|cuda|mps)(?::\d{1,3})?")
DTYPES: tuple[Dtype, ...] = ("auto", "float32", "bfloat16")


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


def check_device_name(name: object) -> None:
    """Raise ConvgymError unless this is the name of a device, here or on another machine."""
    if not (isinstance(name, str) and _NAME.fullmatch(name)):
        raise ConvgymError(f"unknown device {name!r}: expected auto, cpu, cuda, cuda:1 or mps")


def has_bfloat16(device: torch.device) -> bool:
    """Tell whether a device multiplies in bfloat16."""
    if device.type == "cuda":
        supported: bool = torch.cuda.is_bf16_supported(including_emulation=False)
        return supported
    if device.type == "mps":
        return False
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()


def check_dtype(dtype: str) -> None:
    """Raise ConvgymError unless ``dtype`` is the name of a number type, or ``auto``."""
    if dtype not in DTYPES:
        raise ConvgymError(f"dtype must be one of {', '.join(DTYPES)}, got {dtype!r}")
