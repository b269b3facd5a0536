"""Numbers as people write them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from convgym.shop.quantities import in_digits


@pytest.mark.parametrize(
    ("text", "digits"),
    [
        ("1000 bucks", "1000 bucks"),
        ("$1,000", "$1000"),
        ("1.000 euros", "1000 euros"),
        ("1k", "1000"),
        ("1.5k", "1500"),
        ("around a grand", "around 1000"),
        ("two grand", "2000"),
        ("twelve hundred", "1200"),
        ("a couple of hundred", "200"),
        ("one thousand five hundred and forty-five", "1545"),
        ("$1.2 thousand", "$1200"),
        ("between eight hundred and twelve hundred", "between 800 and 1200"),
        ("twenty-five percent", "25 percent"),
        ("in two or three days", "in 2 or 3 days"),
        ("one day", "1 day"),
        # No numbers, or none to be changed.
        ("this one, and someone else", "this one, and someone else"),
        ("one two days ago", "one 2 days ago"),
        ("0.5% and 1.125%", "0.5% and 1.125%"),
        ("the screen weighs often", "the screen weighs often"),
    ],
)
def test_numbers_in_digits(text: str, digits: str) -> None:
    assert in_digits(text) == digits


@given(st.integers(1, 999_999))
def test_digits_stay_what_they_are(number: int) -> None:
    assert in_digits(f"it costs {number:,} dollars") == f"it costs {number} dollars"
    assert in_digits(f"it costs {number} dollars") == f"it costs {number} dollars"
