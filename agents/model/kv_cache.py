"""A key-value cache for rows of different lengths: the slot of a token is its position.

The caches of ``transformers`` append to all rows alike, which leaves holes where rows are padded
and copies the whole cache at every step. Here each row writes at its own positions into
preallocated memory. A pad's entry is overwritten by the real token that comes to stand in its
place before any query looks that far, so no holes are kept and the mask is just causality.
"""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import Cache, CacheLayerMixin


class _RaggedLayer(CacheLayerMixin):
    """Keys and values of one layer, (rows, heads, capacity, head width)."""

    def __init__(self, cache: RaggedCache) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        # No circle: only the collector of circles would free it, which counts objects, not bytes.
        self._cache = weakref.proxy(cache)

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        cache: RaggedCache = self._cache
        self.keys, self.values = (
            states.new_zeros(cache.rows, states.shape[1], cache.capacity, states.shape[3])
            for states in (key_states, value_states)
        )
        self.is_initialized = True

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        """Write states (rows, heads, new, width) at the cache's positions; return all in use."""
        cache = self._cache
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        assert self.keys is not None and self.values is not None
        rows = torch.arange(cache.rows, device=key_states.device)[:, None]
        self.keys[rows, :, cache.positions] = key_states.transpose(1, 2)
        self.values[rows, :, cache.positions] = value_states.transpose(1, 2)
        return self.keys[:, :, : cache.used], self.values[:, :, : cache.used]

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        return self._cache.used, 0

    def get_seq_length(self) -> int:
        used: int = self._cache.used
        return used

    def get_max_length(self) -> int:
        return -1


class RaggedCache(Cache):
    """Key-value cache in which token ``position`` of a row stands in slot ``position``.

    ``place`` must announce the positions before every forward pass.
    """

    def __init__(self, layers: int, rows: int, capacity: int, device: torch.device) -> None:
        self.rows, self.capacity, self.used = rows, capacity, 0
        self.device = device
        self.positions = torch.zeros(rows, 0, dtype=torch.long, device=device)
        self._ragged = [_RaggedLayer(self) for _ in range(layers)]
        super().__init__(layers=[*self._ragged])

    def place(self, positions: Tensor) -> Tensor:
        """Announce the positions (rows, new) of the next tokens; return their attention mask.

        The mask (rows, 1, new, used) is True where a query may look: at its own position and
        before.
        """
        self.positions, self.used = positions, int(positions.max()) + 1
        columns = torch.arange(self.used, device=positions.device)
        return (columns <= positions[:, :, None])[:, None]

    def copy_rows(self, source: RaggedCache, rows: Sequence[int], to: Sequence[int]) -> None:
        """Copy rows (repeats allowed) of another cache to the rows ``to`` of this one.

        What lies beyond this cache's capacity is left out.
        """
        index, target = (torch.tensor(of, device=self.device) for of in (rows, to))
        length = min(source.used, self.capacity)
        self.used = max(self.used, length)
        for old, new in zip(source._ragged, self._ragged, strict=True):
            if old.keys is None or old.values is None:
                continue
            if not new.is_initialized:
                new.lazy_initialization(old.keys, old.values)
            for before, after in ((old.keys, new.keys), (old.values, new.values)):
                assert after is not None
                after[target, :, :length] = before[index, :, :length]
