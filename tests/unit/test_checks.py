from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from convgym.checks import (
    check_fields,
    check_flag,
    check_integer,
    check_number,
    check_patience,
    check_probability,
    check_seed,
)
from convgym.errors import ConvgymError
from convgym.seeds import evaluation_seeds, train_seeds


@pytest.mark.parametrize("value", [3, np.int64(3), np.uint8(3), np.int32(3)])
def test_integers_become_pythons(value: Any) -> None:
    for found in (check_integer("n", value, 3), check_seed(value)):
        assert found == 3
        assert type(found) is int


@pytest.mark.parametrize("value", [2, np.int8(-1), "3", 3.0, np.float64(3), True, None, [3]])
def test_what_is_no_integer_is_told(value: Any) -> None:
    with pytest.raises(ConvgymError, match="n must be an integer from 3 upwards, got") as caught:
        check_integer("n", value, 3)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("value", [3, 0.5, -1, np.float32(0.5), np.int64(3)])
def test_numbers_become_pythons(value: Any) -> None:
    found = check_number("rate", value)
    assert found == value
    assert type(found) in (int, float)


@pytest.mark.parametrize("value", ["3", None, True, math.nan, math.inf, np.float64("nan"), 1j])
def test_what_is_no_number_is_told(value: Any) -> None:
    with pytest.raises(ConvgymError, match="rate must be a number, got"):
        check_number("rate", value)
    with pytest.raises(ConvgymError, match=r"rate must be a probability in \[0, 1\], got"):
        check_probability("rate", value)


def test_probabilities() -> None:
    assert [check_probability("rate", value) for value in (0, 1, 0.5)] == [0, 1, 0.5]
    for value in (-0.1, 1.1):
        with pytest.raises(ConvgymError, match="probability"):
            check_probability("rate", value)


def test_patience() -> None:
    assert [check_patience(value) for value in (None, 3, np.float64(2.5))] == [None, 3, 2.5]
    for value in ("3", 0, -1, math.nan, math.inf, [3]):
        with pytest.raises(ConvgymError, match="patience must be a positive number of turns, got"):
            check_patience(value)


def test_flags() -> None:
    assert [check_flag("shown", value) for value in (True, np.bool_(False))] == [True, False]
    for value in ("yes", 1, None):
        with pytest.raises(ConvgymError, match="shown must be True or False, got"):
            check_flag("shown", value)


@pytest.mark.parametrize("draw", [train_seeds, evaluation_seeds])
def test_seeds_of_a_run(draw: Any) -> None:
    assert draw(np.int64(3), np.int64(4)) == draw(3, 4)
    for seed, n in (("1", 2), (-1, 2), (1, "2"), (1, -1), (1.0, 2)):
        with pytest.raises(ConvgymError, match="must be an integer from 0 upwards, got"):
            draw(seed, n)


def test_an_integer_beyond_all_floats_is_no_number() -> None:
    with pytest.raises(ConvgymError, match="patience must be a positive number"):
        check_patience(10**400)


@dataclass(frozen=True, slots=True)
class Settings:
    count: Any = 1
    steps: Any = 0
    rate: Any = 0.5
    weight: Any = 0.0
    share: Any = 1.0

    def __post_init__(self) -> None:
        check_fields(
            self,
            counts=("count",),
            counts_from_zero=("steps",),
            positive=("rate",),
            from_zero=("weight",),
            shares=("share",),
        )


def test_numbers_of_settings_become_pythons() -> None:
    given = Settings(np.int64(3), np.int32(0), np.float32(0.5), np.float64(0), np.int8(1))
    kinds = [type(getattr(given, name)) for name in Settings.__slots__]
    assert kinds == [int, int, float, float, int]


@pytest.mark.parametrize("value", ["hot", None, True, math.nan, math.inf, -1, [], 10**400])
@pytest.mark.parametrize("name", ["count", "steps", "rate", "weight", "share"])
def test_settings_that_cannot_be(name: str, value: Any) -> None:
    if value == 10**400 and name in ("count", "steps"):
        pytest.skip("an integer like others")
    with pytest.raises(ConvgymError, match=f"^{name} must be a"):
        Settings(**{name: value})


@pytest.mark.parametrize(("name", "value"), [("count", 0), ("rate", 0), ("share", 1.01)])
def test_limits_of_settings(name: str, value: float) -> None:
    with pytest.raises(ConvgymError, match=f"^{name} must be a"):
        Settings(**{name: value})
