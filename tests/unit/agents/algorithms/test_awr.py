"""The weights of advantage-weighted regression."""

from __future__ import annotations

import math

import pytest

from convgym.agents.algorithms.awr import response_weights, spread


def test_weights_are_the_exponential_of_the_advantage_up_to_a_cap() -> None:
    weights = response_weights([1.0, 1.0, 0.0], [0.25, 1.0, 0.5], beta=0.25, max_weight=20.0)
    assert weights == pytest.approx([20.0, 1.0, math.exp(-2)])  # exp(3) is 20.09
    assert response_weights([1.0], [0.0], beta=1e-3, max_weight=50.0) == pytest.approx([50.0])


def test_the_spread_of_weights() -> None:
    assert spread([[1.0, 1.0], [1.0]]) == {"mean_weight": 1.0, "effective_share": 1.0}
    lopsided = spread([[3.0, 0.0], [0.0]])
    assert lopsided == pytest.approx({"mean_weight": 1.0, "effective_share": 1 / 3})
