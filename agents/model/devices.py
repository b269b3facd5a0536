"""How precisely policies compute, and how much at once; see ``convgym.llm.local.devices``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import nn

from convgym.llm.local.devices import Dtype, has_bfloat16

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_COMPUTE_DTYPE = "convgym_compute_dtype"


@dataclass(frozen=True, slots=True)
class BatchSizes:
    """How much is computed at once where nothing is learned from it.

    Speed and memory depend on it, and the last digits. On a processor a model that remembers much
    of a conversation is given fewer at once: its memory is the machine's, and where that runs out
    nobody says so in time.
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
        cls,
        device: torch.device,
        generation: int | None = None,
        reading: int | None = None,
        *,
        cache: int = 0,
    ) -> BatchSizes:
        """Return the sizes that suit a device and a model, or as given.

        Args:
            device: where everything is computed.
            generation: conversations held together, if not what suits.
            reading: conversations in one forward pass, likewise; the smaller ones go by it.
            cache: bytes that the model keeps of every token (``cache_bytes``).
        """
        suitable = (1024, 256)
        if device.type == "cpu":
            held = _CACHES // max(1, cache * _TOKENS)
            suitable = (min(256, max(1, held)), min(64, max(1, held // 2)))
        reading = reading or suitable[1]
        return cls(generation or suitable[0], reading, max(1, reading // 2), max(1, reading // 4))


_TOKENS, _CACHES = 1024, 2**31
"""A long conversation's tokens, and the bytes that all caches of a batch may have on a processor:
2 GiB, of which growing caches take twice or three times as much from the machine."""


def cache_bytes(network: PreTrainedModel) -> int:
    """Return the bytes of keys and values that a model keeps of every token that it has read.

    An estimate from above, where its configuration does not say how many heads share them; 0 for a
    model without attention.
    """
    config = network.config.get_text_config()
    heads = getattr(config, "num_attention_heads", None)
    if not heads:
        return 0
    size = getattr(config, "head_dim", None) or config.hidden_size // heads
    shared = getattr(config, "num_key_value_heads", None) or heads
    return int(2 * config.num_hidden_layers * shared * size * network.dtype.itemsize)


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
