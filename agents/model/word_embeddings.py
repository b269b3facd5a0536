"""Embeddings that tell what kind of word it is: how large a number, or that it is the shop's own.

A model that is trained from scratch learns one by one which prices are above which budgets, and
which words a shop's leaflet may have. Here what stands for a number begins, for a part, as waves of
its logarithm, so that numbers that are near each other are alike, and twice as much is everywhere
the same step; and what stands for a shop's own word has a part that all such words have.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

_CPU = torch.device("cpu")
"""Where a network is begun; it is moved afterwards."""
_FREQUENCIES = (0.4, 0.8, 1.6, 3.2, 6.4, 12.8)
"""Of the waves, in radians for a factor of e."""
_SIZE = 0.4
"""How much of an embedding tells the number's size; the rest is its own, and squares add to 1."""

_COMMON = 0.5
"""How much of the embedding of a shop's own word all of them have in common, likewise."""


@torch.no_grad()
def embed_numbers(embeddings: Tensor, numbers: Mapping[int, int]) -> None:
    """Have some rows tell the size of what they stand for; their norms stay.

    Args:
        embeddings: (V, D), changed in place; left as it is where D is less than twelve.
        numbers: positive numbers by their row.
    """
    waves = 2 * len(_FREQUENCIES)
    if embeddings.shape[1] < waves:
        return
    axes = torch.linalg.qr(torch.randn(embeddings.shape[1], waves, device=_CPU))[0].T
    for row, number in numbers.items():
        turns = [frequency * math.log(number) for frequency in _FREQUENCIES]
        parts = [part(turn) for turn in turns for part in (math.sin, math.cos)]
        wave = torch.tensor(parts, device=_CPU)
        norm = embeddings[row].norm()
        size = wave / wave.norm() @ axes
        embeddings[row] = norm * (_SIZE * size + math.sqrt(1 - _SIZE**2) * embeddings[row] / norm)


@torch.no_grad()
def embed_as_one_kind(embeddings: Tensor, rows: Sequence[int]) -> None:
    """Have some rows tell that they are of one kind; their norms stay.

    Args:
        embeddings: (V, D), changed in place.
        rows: which.
    """
    common = torch.randn(embeddings.shape[1], device=_CPU)
    common /= common.norm()
    own = embeddings[list(rows)]
    norms = own.norm(dim=1, keepdim=True)
    mixed = _COMMON * common + math.sqrt(1 - _COMMON**2) * own / norms
    embeddings[list(rows)] = norms * mixed / mixed.norm(dim=1, keepdim=True)
