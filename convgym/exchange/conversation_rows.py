"""Tables with a whole conversation in every row: messages as JSON, or a transcript.

A transcript is text in which lines begin with who speaks, maybe after a time::

    Customer: Hi, I need a laptop.
    [10:31] Agent: What for?
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from convgym.errors import ConvgymError
from convgym.exchange.chats import Chat
from convgym.exchange.columns import SPEAKERS, TEXTS, WHOLE, guess, named
from convgym.exchange.findings import Findings
from convgym.exchange.roles import BYSTANDERS, CUSTOMERS, REST, SELLERS, plain_role
from convgym.exchange.settings import ImportSettings
from convgym.exchange.shapes import Shape
from convgym.exchange.table import find_columns, table_chats

Row = Mapping[str, object]

_SAMPLE = 20
"""Filled cells by which it is told whether a column holds conversations."""
_TIME = r"(?:[\[(][^\])\n]{1,40}[\])]|\d[\d.,:/ -]{0,30}(?:[ap]m\b)?)[\s,–-]{0,5}"
_NAME = r"[^\W\d][\w.'’#-]*(?: [\w.'’#()&-]+){0,3}"
_SPEAKS = re.compile(rf"\s*(?:{_TIME})?({_NAME})\s*:(?!//)\s*(.*)", re.IGNORECASE)


def chats_of_rows(
    rows: Iterable[tuple[str, Row]],
    columns: Sequence[str],
    path: Path,
    settings: ImportSettings,
    findings: Findings,
    *,
    from_header: bool = False,
) -> list[Chat]:
    """Return the conversations of a table, whose rows are conversations or messages.

    Args:
        rows: each with its place.
        columns: their names.
        path: the file.
        settings: which columns say what, and who speaks for whom.
        findings: told of what cannot be read.
        from_header: whether the names of columns are a first line, which may have been none.

    Raises:
        ConvgymError: for a column that is not there or must be named, and for transcripts of which
            it is not clear who speaks.
    """
    rows = list(rows)
    column = whole_column(rows, columns, settings)
    if column is None:
        named_columns = find_columns(columns, settings, str(path), from_header=from_header)
        return table_chats(rows, named_columns, findings)
    settings.refuse_columns(str(path), "order")
    shape = Shape(messages=(column,), roles=tuple(SPEAKERS), texts=tuple(TEXTS))
    speakers = _named_speakers(settings)
    chats = []
    for number, (place, row) in enumerate(rows, start=1):
        cell = row.get(column)
        if isinstance(cell, str) and _json_messages(cell) is None:
            cell = _said(cell, place, speakers, findings)
        chat = shape.chat({**row, column: cell}, number, place, settings, findings)
        if chat is not None:
            chats.append(chat)
    if speakers is None:
        _refuse_strangers(chats, path, settings)
    return chats


def whole_column(
    rows: Sequence[tuple[str, Row]], columns: Sequence[str], settings: ImportSettings
) -> str | None:
    """Return the column that holds a whole conversation in most of its cells, None for none.

    Where another column says who speaks, only one that is usually called so is looked at: e-mails
    have lines that begin with a word and a colon, too.
    """
    if settings.speaker is not None:
        return None
    candidates = columns if settings.text is None else [named(settings.text, columns)]
    if guess(SPEAKERS, columns) is not None:
        candidates = [name for name in candidates if guess(WHOLE, [name])]
    for name in candidates:
        filled = [row[name] for _, row in rows if row.get(name) not in (None, "")][:_SAMPLE]
        if 2 * sum(map(_is_conversation, filled)) > len(filled):
            return name
    return None


def _is_conversation(cell: object) -> bool:
    if isinstance(cell, str) and _json_messages(cell) is None:
        return sum(_SPEAKS.match(line) is not None for line in _lines(cell)) > 1
    return _json_messages(cell) is not None


def _json_messages(cell: object) -> list[object] | None:
    """Return a list of objects, also of one that is written as JSON, else None."""
    if isinstance(cell, str):
        if not cell.lstrip().startswith("["):
            return None
        try:
            cell = json.loads(cell)
        except (ValueError, RecursionError):
            return None
    return cell if isinstance(cell, list) and any(isinstance(row, dict) for row in cell) else None


def _lines(text: str) -> list[str]:
    """Return lines; some programs write a backslash and an n between them."""
    return (text if "\n" in text else text.replace("\\n", "\n")).splitlines()


def _named_speakers(settings: ImportSettings) -> frozenset[str] | None:
    """Return who may speak, where both sides are named; None where anybody may."""
    if not (settings.customer and settings.seller) or REST in settings.customer + settings.seller:
        return None
    return frozenset(map(plain_role, settings.customer + settings.seller + settings.ignore))


def _said(
    text: str, place: str, speakers: frozenset[str] | None, findings: Findings
) -> list[dict[str, str]] | str:
    """Return the messages of a transcript, or the text itself if it has none."""
    messages: list[dict[str, str]] = []
    for line in _lines(text):
        match = _SPEAKS.match(line)
        if match and (speakers is None or plain_role(match[1]) in speakers):
            messages.append({"speaker": match[1], "text": match[2]})
        elif messages:
            messages[-1]["text"] += f"\n{line}"
        elif line.strip():
            findings.add("no-speaker", place, line)
    return messages or text


def _refuse_strangers(chats: Sequence[Chat], path: Path, settings: ImportSettings) -> None:
    """Raise ConvgymError for words before a colon that may be a speaker's, or be part of a text."""
    known = CUSTOMERS | SELLERS | BYSTANDERS
    known |= {plain_role(word) for word in settings.customer + settings.seller + settings.ignore}
    words = Counter(plain_role(said.role) for chat in chats for said in chat.messages)
    strangers = [word for word, _ in words.most_common() if word not in known]
    if strangers and REST not in known:
        listed = ", ".join(f"{word!r} ({words[word]} lines)" for word in strangers[:8])
        more = f" and {len(strangers) - 8} more" if len(strangers) > 8 else ""
        raise ConvgymError(
            f"{path}: who is {listed}{more}? Name both sides, by --customer and --seller: lines"
            " that begin with other words then belong to what was said before"
        )
