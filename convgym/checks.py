"""Values that users give: checked where they come in, so that a mistake is one line."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from convgym.errors import ConvgymError


def check_integer(name: str, value: object, at_least: int) -> int:
    """Return ``value`` as an ``int``; ConvgymError unless it is an integer, NumPy's included.

    Args:
        name: what the value is called in the error.
        value: what was given.
        at_least: the smallest value that is allowed.
    """
    if isinstance(value, (int, np.integer)) and not isinstance(value, bool) and value >= at_least:
        return int(value)
    raise ConvgymError(f"{name} must be an integer from {at_least} upwards, got {_show(value)}")


def check_seed(seed: object, name: str = "an episode seed") -> int:
    """Return a seed as an ``int``; ConvgymError unless it is an integer of 0 or more."""
    return check_integer(name, seed, 0)


def check_number(name: str, value: object, expected: str = "a number") -> float:
    """Return a finite ``int`` or ``float`` as it is, NumPy's as Python's; else ConvgymError."""
    if isinstance(value, (np.integer, np.floating)):
        value = value.item()
    if isinstance(value, (int, float)) and not isinstance(value, bool) and _is_finite(value):
        return value
    raise ConvgymError(f"{name} must be {expected}, got {_show(value)}")


def check_patience(patience: object) -> float | None:
    """Return a customer's patience, a positive number of turns or None; else ConvgymError."""
    if patience is None:
        return None
    expected = "a positive number of turns"
    number = check_number("patience", patience, expected)
    if number <= 0:
        raise ConvgymError(f"patience must be {expected}, got {_show(patience)}")
    return number


def check_probability(name: str, value: object) -> float:
    """Return a number in [0, 1]; else ConvgymError."""
    number = check_number(name, value, "a probability in [0, 1]")
    if not 0 <= number <= 1:
        raise ConvgymError(f"{name} must be a probability in [0, 1], got {_show(value)}")
    return number


def check_flag(name: str, value: object) -> bool:
    """Return True or False, NumPy's included; else ConvgymError."""
    if not isinstance(value, (bool, np.bool_)):
        raise ConvgymError(f"{name} must be True or False, got {_show(value)}")
    return bool(value)


def check_fields(
    settings: object,
    *,
    counts: Sequence[str] = (),
    counts_from_zero: Sequence[str] = (),
    positive: Sequence[str] = (),
    from_zero: Sequence[str] = (),
    shares: Sequence[str] = (),
    bounds: Sequence[str] = (),
) -> None:
    """Check the numbers of a frozen dataclass, and make NumPy's Python's in place.

    Args:
        settings: the dataclass, in its ``__post_init__``.
        counts: fields that are integers from 1 upwards.
        counts_from_zero: integers from 0 upwards.
        positive: finite numbers above 0.
        from_zero: finite numbers from 0 upwards.
        shares: numbers in [0, 1].
        bounds: numbers above 0, infinity for no bound at all.

    Raises:
        ConvgymError: for the first field that is something else.
    """
    for names, least in ((counts, 1), (counts_from_zero, 0)):
        for name in names:
            value: float = check_integer(name, getattr(settings, name), least)
            object.__setattr__(settings, name, value)
    finite_bounds = [name for name in bounds if not _no_bound(getattr(settings, name))]
    positive = (*positive, *finite_bounds)
    for name in (*positive, *from_zero, *shares):
        given = getattr(settings, name)
        expected = f"a number {'above 0' if name in positive else 'from 0 upwards'}"
        expected = "a number in [0, 1]" if name in shares else expected
        value = check_number(name, given, expected)
        if value < 0 or (name in positive and not value) or (name in shares and value > 1):
            raise ConvgymError(f"{name} must be {expected}, got {_show(given)}")
        object.__setattr__(settings, name, value)


def _no_bound(value: object) -> bool:
    return isinstance(value, (float, np.floating)) and float(value) == math.inf


def _is_finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # an integer beyond all floats
        return False


def _show(value: object) -> str:
    return repr(value)[:60]
