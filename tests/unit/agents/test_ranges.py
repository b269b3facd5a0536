"""Numbers that cannot be settings are refused by name, as a config is made."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from typing import Any

import pytest

pytest.importorskip("torch")

from convgym.agents import make_agent
from convgym.agents.improvement.registry import IMPROVEMENTS, make_improvement
from convgym.agents.registry import AGENTS
from convgym.errors import ConvgymError


def numbers(config: Any) -> Iterator[tuple[Any, str, float]]:
    """Yield the numbers of a config and of those inside, with the config that each stands in."""
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if dataclasses.is_dataclass(value):
            yield from numbers(value)
        elif isinstance(value, int | float) and not isinstance(value, bool):
            yield config, field.name, value


def refused(config: Any, name: str, value: float) -> bool:
    """Tell whether a config with that value is refused."""
    try:
        dataclasses.replace(config, **{name: value})
    except ConvgymError as error:
        return "\n" not in str(error)
    return False


def configs() -> Iterator[Any]:
    yield from (make_agent(name).config for name in AGENTS.shipped)
    yield from (make_improvement(name) for name in IMPROVEMENTS.shipped)


def test_every_number_of_every_setting_is_bounded_below() -> None:
    settings = [setting for config in configs() for setting in numbers(config)]
    assert len(settings) > 60
    for config, name, value in settings:
        assert not refused(config, name, value), name
        for wrong in (math.nan, -math.inf) if isinstance(value, float) else (-1,):
            assert refused(config, name, wrong), f"{type(config).__name__}.{name}={wrong}"
        if name != "standard_errors":  # an optimist's gate may have some
            assert refused(config, name, -0.5 if isinstance(value, float) else -1), name


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("learning_rate", -1.0, "must be a number from 0 upwards, got -1.0"),
        ("minibatch", 0, "must be an integer from 1 upwards, got 0"),
        ("gamma", 1.5, "must be a number in [0, 1], got 1.5"),
        ("kl_coefficient", math.inf, "must be a number from 0 upwards, got inf"),
    ],
)
def test_a_number_that_cannot_be_is_named(name: str, value: float, expected: str) -> None:
    with pytest.raises(ConvgymError) as error:
        make_agent("online-ppo", **{name: value})
    assert str(error.value) == f"{name} {expected}"


def test_no_bound_may_be_infinite() -> None:
    assert make_agent("online-ppo", max_gradient_norm=math.inf)
