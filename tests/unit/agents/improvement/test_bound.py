"""The bound of a step: which weights it comes back to."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from convgym.agents.improvement.bound import DivergenceBound
from convgym.agents.model.language_model import LanguageModel


def moved(model: LanguageModel) -> list[Tensor]:
    """Move a model; return its weights from there."""
    with torch.no_grad():
        for parameter in model.trained_parameters():
            parameter.add_(1.0)
    return [parameter.clone() for parameter in model.trained_parameters()]


def at(model: LanguageModel, weights: list[Tensor]) -> bool:
    return all(map(torch.equal, model.trained_parameters(), weights))


@pytest.mark.parametrize("beyond", [1.1, math.inf, math.nan])
def test_a_model_beyond_comes_back_to_where_it_was_last_seen_within(
    make_model: Callable[..., LanguageModel], beyond: float
) -> None:
    model = make_model(layers=1)
    bound = DivergenceBound(model, 1.0)
    moved(model)
    assert bound.holds(0.2)
    within = moved(model)
    assert bound.holds(1.0)
    assert at(model, within)
    moved(model)
    assert not bound.left
    assert not bound.holds(beyond)
    assert bound.left
    assert at(model, within)


def test_a_model_beyond_at_once_comes_back_to_its_beginning(
    make_model: Callable[..., LanguageModel],
) -> None:
    model = make_model(layers=1)
    beginning = [parameter.clone() for parameter in model.trained_parameters()]
    bound = DivergenceBound(model, 1.0)
    moved(model)
    assert not bound.holds(2.0)
    assert at(model, beginning)
