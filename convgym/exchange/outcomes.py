"""How a conversation ended, by a field of the file: which words mean that the customer bought."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from convgym.conversation import Outcome
from convgym.errors import ConvgymError, unknown
from convgym.exchange.amounts import Bound, amount_of, read_bound
from convgym.exchange.chats import Chat
from convgym.exchange.columns import OUTCOME_WORDS, OUTCOMES, guess, words_of

_BOUGHT = (
    "true t yes y 1 bought purchase purchased sale sold converted conversion won success successful"
    " order ordered paid wahr ja verdadero sí si vrai oui vero да истина 是"
).split()
_LOST = (
    "false f no n 0 lost loss walk_away walked_away left abandoned refused declined cancelled"
    " canceled unsold failed failure falsch nein falso faux non нет ложь 否"
).split()
_NOT_BOUGHT = (
    "not bought,not purchased,not sold,not converted,no purchase,no sale,no order,did not buy,"
    "didn't buy,walk away,walked away,closed lost"
).split(",")
_PROPOSED = 4
"""Candidates for the outcome's field that are shown."""
_MISSING = ["", "nan", "null", "none", "n/a", "na", "-", "missing"]
WORDS: Mapping[str, Outcome | None] = {
    **dict.fromkeys([*_BOUGHT, "closed won"], "purchase"),
    **dict.fromkeys([*_LOST, *_NOT_BOUGHT], "walk_away"),
    **dict.fromkeys(_MISSING, None),
    "turn_limit": "turn_limit",
}
"""What is understood, in lower case; None says that nobody knows."""


class Unclear(ValueError):
    """A value that is not among the words that are understood."""


@dataclass(frozen=True)
class Meanings:
    """What values of a file mean, beyond the words that are understood anyway."""

    words: Mapping[str, Outcome | None] = field(default_factory=dict)
    bounds: Sequence[tuple[Bound, Outcome | None]] = ()
    """For amounts; the first that holds counts."""


_NOTHING_MORE = Meanings()


def outcome_of(value: object, further: Meanings = _NOTHING_MORE) -> Outcome | None:
    """Return what a value says, None if it says nothing; raises ``Unclear``.

    Where there are bounds, numbers are amounts: 1 is no word for a purchase then, and of those that
    no bound holds for only 0 is understood.
    """
    word = _word(value)
    if word in further.words:
        return further.words[word]
    amount = amount_of(word) if further.bounds else None
    if amount is None and word in WORDS:
        return WORDS[word]
    if amount is not None:
        for bound, outcome in further.bounds:
            if bound.holds(amount):
                return outcome
        if amount == 0:
            return "walk_away"
    raise Unclear(word)


def further_meanings(given: Mapping[str, str]) -> Meanings:
    """Return words and bounds of a file with what they mean.

    Raises:
        ConvgymError: for a meaning that is not understood either, and a bound without an amount.
    """
    words: dict[str, Outcome | None] = {}
    bounds: list[tuple[Bound, Outcome | None]] = []
    for word, meaning in given.items():
        if _word(meaning) not in WORDS:
            known = ["purchase", "walk_away", "turn_limit", "missing"]
            raise unknown(f"meaning of the outcome {word!r}:", meaning, known)
        if bound := read_bound(word):
            bounds.append((bound, WORDS[_word(meaning)]))
        else:
            words[_word(word)] = WORDS[_word(meaning)]
    return Meanings(words, bounds)


def by_field(chats: Sequence[Chat], field: str, given: Mapping[str, str]) -> list[Outcome | None]:
    """Return how each chat ended by a field of it, None where that says nothing.

    Raises:
        ConvgymError: for values that are not understood, with the values.
    """
    further = further_meanings(given)
    outcomes: list[Outcome | None] = []
    unclear: Counter[str] = Counter()
    for chat in chats:
        try:
            outcomes.append(outcome_of(look_up(chat.fields, field), further))
        except Unclear as error:
            unclear[str(error)] += 1
    if unclear:
        listed = ", ".join(f"{word[:40]!r} ({n})" for word, n in unclear.most_common(5))
        more = f" and {len(unclear) - 5} other values" if len(unclear) > 5 else ""
        amounts = all(amount_of(word) is not None for word in unclear)
        bound = "<0=walk_away" if further.bounds else ">0=purchase"
        raise ConvgymError(
            f"what does the outcome {field!r} mean by {listed}{more}? Say it by --outcome-value"
            f" {next(iter(unclear))[:40]!r}=purchase, or =walk_away, or =missing"
            + (f", or of all such amounts: '{bound}'" if amounts else "")
        )
    return outcomes


def outcome_field(chats: Sequence[Chat], given: str | None, source: str) -> str:
    """Return the field that says how conversations ended: as named, or by its usual name.

    Raises:
        ConvgymError: that lists the fields, if there is none of that name or none at all.
    """
    names = list(dict.fromkeys(name for chat in chats for name in chat.fields))
    if given is not None:
        if any(look_up(chat.fields, given, None) is not None for chat in chats):
            return given
        match = given if given in names else guess([given.strip().casefold()], names)
        if match is None:
            raise unknown("field for the outcome", given, names or ["none at all"])
        return match
    match = guess(OUTCOMES, names)
    if match is None:
        raise ConvgymError(
            f"{source} must say which conversations ended in a purchase: name the field by"
            f" --outcome, or give a rule by --outcome-rule; {_proposal(chats, names)}"
        )
    return match


def _proposal(chats: Sequence[Chat], names: Sequence[str]) -> str:
    """Return which fields there are, those first that may say how a conversation ended."""
    if not names:
        return "it has no fields"
    fields = f"the fields are {', '.join(map(repr, names))}"
    values: dict[str, dict[str, None]] = {}
    for chat in chats:
        for name, value in _leaves(chat.fields):
            values.setdefault(name, {}).setdefault(_word(value))
    likely = [name for name, words in values.items() if _may_tell(name, list(words))]
    if not likely:
        return fields
    # Those first whose values are understood as they are.
    likely.sort(key=lambda name: not _is_understood(list(values[name])))
    shown = [f"{name!r} ({_some(list(values[name]))})" for name in likely[:_PROPOSED]]
    return f"it may be --outcome {likely[0]}: candidates are {', '.join(shown)}; {fields}"


def _leaves(fields: Mapping[str, object], within: str = "") -> Iterator[tuple[str, object]]:
    """Yield fields and their values, those in objects by their path."""
    for name, value in fields.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{within}{name}.")
        elif not isinstance(value, list | tuple):
            yield f"{within}{name}", value


def _may_tell(name: str, words: Sequence[str]) -> bool:
    """Tell whether a field may say how a conversation ended, by its name or by its values."""
    named = bool(OUTCOME_WORDS & set(words_of(name)))
    return (named and any(words)) or _is_understood(words)


def _is_understood(words: Sequence[str]) -> bool:
    """Tell whether values are words for a purchase and for none, and nothing else."""
    meant = {WORDS.get(word, "unclear") for word in words}
    return {"purchase", "walk_away"} <= meant and "unclear" not in meant


def _some(words: Sequence[str]) -> str:
    shown = [word[:20] for word in words if word][:3]
    return ", ".join([*shown, *(["..."] if len(words) > len(shown) else [])])


def look_up(fields: Mapping[str, object], name: str, default: object = None) -> object:
    """Return a field by its name; dots lead into objects where no field is called so."""
    if name in fields:
        return fields[name]
    value: object = fields
    for part in name.split("."):
        if not isinstance(value, Mapping) or part not in value:
            return default
        value = value[part]
    return value


def _word(value: object) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, bool):
        return str(value).casefold()
    if isinstance(value, int | float | Decimal):
        return f"{value:f}".rstrip("0").rstrip(".") if "." in f"{value:f}" else f"{value}"
    word = " ".join(str(value).split()).casefold()
    return {"1.0": "1", "0.0": "0"}.get(word, word)
