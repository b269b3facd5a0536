"""Conversations in a table with a message a row: rows gathered by conversation, and in order."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime

from convgym.errors import ConvgymError
from convgym.exchange.chats import Chat, Said
from convgym.exchange.columns import IDS, ORDERS, OUTCOMES, SPEAKERS, TEXTS, guess, named
from convgym.exchange.findings import Findings
from convgym.exchange.settings import ImportSettings
from convgym.exchange.shapes import plain_text

Row = Mapping[str, object]

_SAMPLE = 1000
"""Rows by which it is told how times are written."""
_SHOWN = 40
"""Characters of a column's name that are shown."""
_HEADLESS = (
    " (the first line is read as names of columns: if it is a message already, put a line above it,"
    " such as conversation_id,speaker,text,outcome)"
)
_TIMES = [
    f"{day} {clock}".strip()
    for day in ("%d.%m.%Y", "%d.%m.%y", "%d/%m/%Y", "%m/%d/%Y", "%d-%m-%Y", "%Y/%m/%d", "")
    for clock in ("%H:%M:%S", "%H:%M", "%I:%M:%S %p", "%I:%M %p", "")
    if day or clock
]


@dataclass(frozen=True)
class Columns:
    """Which columns say what; ``order`` and ``outcome`` may be nowhere."""

    conversation: str
    speaker: str
    text: str
    order: tuple[str, ...]
    outcome: str | None
    is_order_given: bool = False
    """Whether the order was named, and not found by its usual name."""


@dataclass
class _Gathered:
    """The rows of one conversation so far."""

    place: str
    said: list[Said] = field(default_factory=list)
    orders: list[object] = field(default_factory=list)
    fields: dict[str, object] = field(default_factory=dict)
    outcomes: set[str] = field(default_factory=set)


def find_columns(
    columns: Sequence[str], settings: ImportSettings, source: str, *, from_header: bool = False
) -> Columns:
    """Return the columns that are needed: as they are named, or else by their usual names.

    Args:
        columns: their names.
        settings: which of them say what.
        source: the file, for errors.
        from_header: whether the names are a first line, which may have been none.

    Raises:
        ConvgymError: for a column that is not there, or that must be named.
    """

    def column(option: str, given: str | None, usual: Iterable[str]) -> str:
        if given is not None:
            return named(given, columns)
        match = guess(usual, columns)
        if match is None:
            raise ConvgymError(
                f"{source}: which column is the {option}? Name it by --{option}; there are: "
                + ", ".join(repr(name[:_SHOWN]) for name in columns)
                + (_HEADLESS if from_header and not known else "")
            )
        return match

    known = any(guess(usual, columns) for usual in (IDS, SPEAKERS, TEXTS, OUTCOMES))
    speaker = column("speaker", settings.speaker, SPEAKERS)
    text = column("text", settings.text, TEXTS)
    conversation = column("conversation", settings.conversation, IDS)
    if settings.order is not None:
        order = tuple(named(part.strip(), columns) for part in settings.order.split(","))
    else:
        order = tuple(filter(None, (guess(ORDERS, columns) or "").split(",")))
    outcome = settings.outcome
    outcome = named(outcome, columns) if outcome is not None else guess(OUTCOMES, columns)
    return Columns(conversation, speaker, text, order, outcome, settings.order is not None)


def table_chats(
    rows: Iterable[tuple[str, Row]], columns: Columns, findings: Findings
) -> list[Chat]:
    """Return the conversations of a table in the order in which they begin.

    Args:
        rows: each with its place.
        columns: which of them say what.
        findings: told of rows without an id, repeated rows and conversations out of order.

    Raises:
        ConvgymError: for an order that was named, and of which nothing can be read.
    """
    conversations: dict[str, _Gathered] = {}
    for place, row in rows:
        id = _text(row.get(columns.conversation))
        if not id:
            findings.add("no-id", place, _text(row.get(columns.text)))
            continue
        _gather(conversations.setdefault(id, _Gathered(place)), row, place, columns, findings)
    orders = [value for chat in conversations.values() for value in chat.orders]
    key = _order_key(orders)
    if columns.is_order_given and orders and not any(key(value) is not None for value in orders):
        examples = list(dict.fromkeys(filter(None, map(_text, orders))))[:3]
        raise ConvgymError(
            f"nothing can be put in order by {' and '.join(map(repr, columns.order))}: expected"
            f" numbers or times, got {', '.join(map(repr, examples)) or 'empty fields'}; name"
            " another column by --order, or drop it to keep the order of the file"
        )
    return [_chat(id, gathered, key, findings) for id, gathered in conversations.items()]


def _gather(chat: _Gathered, row: Row, place: str, columns: Columns, findings: Findings) -> None:
    chat.fields |= {name: value for name, value in row.items() if _text(value)}
    if columns.outcome and (outcome := _text(row.get(columns.outcome))):
        chat.outcomes.add(outcome)
    text = plain_text(row.get(columns.text), place, findings)
    role = _text(row.get(columns.speaker))
    if not role:
        if text.strip():  # else it is a row that only says how the conversation ended
            findings.add("no-speaker", place, text)
        return
    order = [row.get(name) for name in columns.order]
    when = order[0] if len(order) == 1 else " ".join(map(_text, order)).strip()
    said = Said(role, text, place)
    last = (chat.said[-1].role, chat.said[-1].text, chat.orders[-1]) if chat.said else None
    if columns.order and _text(when) and last == (role, text, when):
        findings.add("repeated-row", place, text)
        return
    chat.said.append(said)
    chat.orders.append(when)


def _chat(
    id: str, gathered: _Gathered, key: Callable[[object], float | None], findings: Findings
) -> Chat:
    place = f"{gathered.place} ({id})"
    said = gathered.said
    keys = [key(value) for value in gathered.orders]
    known = [value for value in keys if value is not None]
    if any(gathered.orders) and len(known) < len(keys):
        findings.add("unordered", place)
    elif known != sorted(known):
        findings.add("reordered", place)
        said = [said[index] for index in sorted(range(len(said)), key=known.__getitem__)]
    if len(gathered.outcomes) > 1:
        findings.add("outcomes-differ", place, ", ".join(sorted(gathered.outcomes)))
    return Chat(id, place, tuple(said), gathered.fields)


def _text(value: object) -> str:
    """Return a cell as text; nothing for an empty one. Whole numbers lose their ``.0``."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value).strip()


def _order_key(values: Sequence[object]) -> Callable[[object], float | None]:
    """Return a number for each value of a column, by the way of writing that most have."""
    filled = [value for value in values if _text(value)]
    sample = filled[:: max(1, len(filled) // _SAMPLE)]
    readers = [_number, _moment, *(_time_reader(form) for form in _TIMES)]
    best: Callable[[object], float | None] = _number
    count = -1
    for reader in readers:
        read = sum(reader(value) is not None for value in sample)
        if read > count:
            best, count = reader, read
        if count == len(sample):
            break
    return best


def _number(value: object) -> float | None:
    if isinstance(value, datetime | date):
        return None
    try:
        number = float(_text(value))
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _moment(value: object) -> float | None:
    if isinstance(value, date) and not isinstance(value, datetime):
        value = datetime(value.year, value.month, value.day)
    try:
        when = value if isinstance(value, datetime) else datetime.fromisoformat(_text(value))
        return _seconds(when)
    except (ValueError, OverflowError):
        return None


def _time_reader(form: str) -> Callable[[object], float | None]:
    def read(value: object) -> float | None:
        try:
            return _seconds(datetime.strptime(_text(value).upper(), form))
        except (ValueError, OverflowError):
            return None

    return read


def _seconds(when: datetime) -> float:
    """Return seconds since 1970; a time without a zone is taken as UTC."""
    return (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp()
