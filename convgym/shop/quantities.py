"""Numbers as people write them: "1,000", "1.5k", "a grand", "twelve hundred", "twenty-five"."""

from __future__ import annotations

import re
from collections.abc import Callable

from convgym.shop.language import numbers, tokens

_ONES = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen"
    " sixteen seventeen eighteen nineteen"
).split()
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety".split()
_VALUES = {word: value for value, word in enumerate(_ONES)}
_VALUES |= {word: 10 * value for value, word in enumerate(_TENS, 2)}
_SCALES = {"hundred": 100, "thousand": 1000, "grand": 1000}
_ONE, _TEN, _SCALE = "|".join(_ONES), "|".join(_TENS), "|".join(_SCALES)
_SMALL = rf"(?:(?:{_TEN})(?:[- ](?:{_ONE}))?|(?:{_ONE}))\b"
_SPELLED = re.compile(
    rf"(?:\b{_SMALL}|\ban?(?: couple of)?(?= (?:{_SCALE})\b)|\d+(?:\.\d+)?(?= (?:{_SCALE})\b))"
    rf"(?: hundred\b(?:(?: and)? {_SMALL}(?! (?:{_SCALE})\b))?|"
    rf" (?:thousand|grand)\b(?:(?: and)? {_SMALL})?)*"
)
_THOUSANDS = re.compile(r"(?<=\d)[,.](?=\d{3}(?!\d| ?%| percent))")
_K = re.compile(r"\b(\d{1,4})(?:[.,](\d))? ?k\b")
_SCALED = re.compile(_SCALE)
_UNIT = re.compile(
    r" (?:days?|weeks?|hours?|months?|percent|%|dollars?|bucks)\b|-(?:day|week|hour)"
)
_HINT = re.compile(rf"\b(?:{_ONE}|{_TEN}|{_SCALE})|\dk\b|\d k\b|\d[,.]\d{{3}}")


_MONEY = re.compile(r" ?(?:dollars?|bucks|euros?|pounds?|quid)\b")


def in_digits(text: str) -> str:
    """Return a lower-case text with its numbers in plain digits: "a grand" is "1000".

    "One" alone is a pronoun as often as a number, and stays unless a unit follows it.
    """
    return _replaced(text, _read)


def amounts(text: str) -> list[int]:
    """Return the numbers in a text that can be money: "a grand", not "he is ten"."""
    return numbers(tokens(_replaced(text.lower(), _read_money)))


def _replaced(text: str, read: Callable[[re.Match[str]], str]) -> str:
    if not _HINT.search(text):
        return text
    text = _THOUSANDS.sub("", text)
    text = _K.sub(lambda match: f"{match[1]}{match[2] or 0}00", text)
    return _SPELLED.sub(read, text)


def _read_money(match: re.Match[str]) -> str:
    if _SCALED.search(match[0]) or _MONEY.match(match.string, match.end()):
        return _read(match)
    return match[0]


def _read(match: re.Match[str]) -> str:
    """Return the digits of a number that is spelled out, or what stood there if it is none."""
    said = match[0]
    if said == "one" and not _UNIT.match(match.string, match.end()):
        return said
    total = current = 0.0
    for word in re.split(r"[ -]", said):
        if word in _SCALES:
            current = (current or 1) * _SCALES[word]
            if word != "hundred":
                total, current = total + current, 0.0
        elif word in _VALUES:
            current += _VALUES[word]
        elif word in ("a", "an"):
            current = 1.0
        elif word == "couple":
            current = 2.0
        elif word[:1].isdigit():
            current = float(word)
    return f"{total + current:.0f}"
