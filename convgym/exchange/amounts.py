"""Amounts of money as tables write them, and bounds that say which of them are a purchase."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from dataclasses import dataclass

from convgym.errors import ConvgymError

_CURRENCY = r"(?:[^\W\d_]{1,3}|[^\w.,+-])?"
_AMOUNT = re.compile(rf"([+−-]?){_CURRENCY}([+−-]?)(?P<digits>\d[\d.,]*|[.,]\d+){_CURRENCY}")
_BLANKS = re.compile(r"[\s'’]+")
_BOUND = re.compile(r"(>=|<=|>|<)(.*)", re.DOTALL)
_COMPARE: dict[str, Callable[[float, float], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
}


@dataclass(frozen=True, slots=True)
class Bound:
    """Amounts on one side of a number: ``>0`` or ``<=99.90``."""

    sign: str
    number: float

    def holds(self, amount: float) -> bool:
        """Return whether an amount is on that side."""
        return _COMPARE[self.sign](amount, self.number)


def read_bound(text: str) -> Bound | None:
    """Return a bound, None for a text that begins with none of ``>``, ``>=``, ``<`` and ``<=``.

    Raises:
        ConvgymError: if no amount follows.
    """
    match = _BOUND.fullmatch(text.strip())
    if match is None:
        return None
    number = amount_of(match[2])
    if number is None:
        raise ConvgymError(f"expected an amount after {match[1]!r}, as in '>0', got {text!r}")
    return Bound(match[1], number)


def amount_of(text: str) -> float | None:
    """Return a number that may have a currency and thousands apart: ``$1,299.00``, ``1.299,00 €``.

    Of two kinds of separators the last is the decimal one. A single comma before three digits
    separates thousands, a single point never does. None for what is no amount.
    """
    match = _AMOUNT.fullmatch(_BLANKS.sub("", text))
    if match is None:
        return None
    digits = match["digits"]
    decimal = max(".,", key=digits.rfind)
    other = "," if decimal == "." else "."
    alone = digits.count(decimal) == 1 and other not in digits
    if digits.count(decimal) > 1 or (alone and re.fullmatch(r"\d{1,3},\d{3}", digits)):
        whole, fraction = re.sub("[.,]", "", digits), ""
    else:
        whole, _, fraction = digits.replace(other, "").partition(decimal)
    amount = float(f"{whole or 0}.{fraction or 0}")
    return -amount if {match[1], match[2]} & {"-", "−"} else amount
