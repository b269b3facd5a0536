from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from convgym.errors import ConvgymError
from convgym.exchange.amounts import Bound, amount_of, read_bound


@pytest.mark.parametrize(
    ("text", "amount"),
    [
        ("129", 129),
        ("129.00", 129),
        ("129,50", 129.5),
        ("1,299.00", 1299),
        ("1.299,00 €", 1299),
        ("1,299", 1299),
        ("1.299", 1.299),
        ("1 299,5", 1299.5),
        ("1'299.50 CHF", 1299.5),
        ("1,299,000", 1_299_000),
        ("$.99", 0.99),
        ("$ 0", 0),
        ("EUR -20", -20),
        ("−20 €", -20),
        ("+3", 3),
        ("", None),
        ("-", None),
        ("yes", None),
        ("stage 4", None),
        ("10:30", None),
        ("1-2", None),
        ("nan", None),
    ],
)
def test_amounts_as_tables_write_them(text: str, amount: float | None) -> None:
    assert amount_of(text) == amount


@given(st.decimals(-(10**9), 10**9, places=2))
def test_thousands_and_decimals_of_two_manners(value: float) -> None:
    english = f"{value:,.2f}"
    german = english.translate(str.maketrans(",.", ".,"))
    assert amount_of(english) == amount_of(german) == pytest.approx(float(value))


def test_bounds() -> None:
    assert read_bound(">0") == Bound(">", 0)
    assert read_bound(" <= $99.90") == Bound("<=", 99.9)
    assert read_bound("0") is None
    held = {sign: [Bound(sign, 1).holds(x) for x in (0, 1, 2)] for sign in (">", ">=", "<", "<=")}
    assert held == {
        ">": [False, False, True],
        ">=": [False, True, True],
        "<": [True, False, False],
        "<=": [True, True, False],
    }
    with pytest.raises(ConvgymError, match="expected an amount after '>', as in '>0', got '>nil'"):
        read_bound(">nil")
