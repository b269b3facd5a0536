"""Disjoint episode seeds for training and for evaluation."""

from __future__ import annotations

import numpy as np

from convgym.checks import check_integer, check_seed

EVALUATION_BASE = 2**31
"""Evaluation seeds start here; training seeds stay below, so no customer is met in both."""


def _draw(stream: int, seed: int, n: int) -> list[int]:
    generator = np.random.default_rng([stream, check_seed(seed, "seed")])
    n = check_integer("the number of episode seeds", n, 0)
    return [int(value) for value in generator.integers(EVALUATION_BASE, size=n)]


def train_seeds(seed: int, n: int) -> list[int]:
    """Return ``n`` episode seeds in [0, 2**31) for a training run with this seed."""
    return _draw(0, seed, n)


def evaluation_seeds(seed: int, n: int) -> list[int]:
    """Return ``n`` episode seeds in [2**31, 2**32) that no training run ever draws."""
    return [EVALUATION_BASE + value for value in _draw(1, seed, n)]
