"""CSV as spreadsheets write it, with commas, semicolons or tabs.

A row is a message, or a whole conversation where a column holds those.
"""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from convgym.errors import ConvgymError
from convgym.exchange.chats import Chat
from convgym.exchange.conversation_rows import chats_of_rows, whole_column
from convgym.exchange.conversations import Conversation
from convgym.exchange.findings import Findings
from convgym.exchange.settings import ImportSettings
from convgym.exchange.text_file import read_text

_SEPARATORS = ",;\t|"


def read(path: Path, settings: ImportSettings, findings: Findings) -> list[Chat]:
    """Return the conversations of a CSV file. Raises ConvgymError if it has no such columns."""
    text = read_text(path, settings.encoding)
    separator, skipped = _separator(text)
    lines = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    for _ in range(skipped):
        next(lines)
    try:
        header = _header(next(lines, []))
    except csv.Error as error:
        raise ConvgymError(f"{path} has no header that can be read: {error}") from None
    if whole_column([("the header", {name: name for name in header})], header, settings):
        raise ConvgymError(
            f"{path} begins with a conversation where the names of columns are expected: put a line"
            " above it, such as conversation_id,transcript,outcome"
        )
    rows = list(_rows(path, lines, header, findings))
    if len(header) < 2 and whole_column(rows, header, settings) is None:
        raise ConvgymError(
            f"{path} is no CSV with a message or a conversation a row: expected a first line with"
            f" the names of columns, got {text.strip()[:40]!r}"
        )
    return chats_of_rows(rows, header, path, settings, findings, from_header=True)


def _separator(text: str) -> tuple[str, int]:
    """Return what stands between fields, and how many lines before the header say so."""
    first = text.lstrip("\ufeff\r\n").partition("\n")[0].strip("\r")
    blank = len(text.partition(first)[0].split("\n")) - 1 if first else 0
    if first.casefold().startswith("sep=") and len(first) == 5:  # Excel's own line
        return first[4], blank + 1
    return max(_SEPARATORS, key=first.count), blank


def _header(names: Sequence[str]) -> list[str]:
    """Return the names of columns, those that are given again with a number."""
    header, given = [], Counter[str]()
    for number, name in enumerate(names, start=1):
        name = name.strip("\ufeff \t") or f"column {number}"
        given[name] += 1
        header.append(name if given[name] == 1 else f"{name} {given[name]}")
    return header


def _rows(
    path: Path, lines: Iterator[list[str]], header: list[str], findings: Findings
) -> Iterator[tuple[str, dict[str, object]]]:
    while True:
        begin = getattr(lines, "line_num", 0) + 1
        place = f"line {begin}"
        try:
            cells = next(lines, None)
        except csv.Error as error:
            if "field larger" in str(error) or "unexpected end" in str(error):
                raise ConvgymError(
                    f"{path}, {place}: a field does not end ({error}): is a quote left open?"
                ) from None
            findings.add("bad-row", place, str(error))
            continue
        if cells is None:
            return
        if not any(cell.strip() for cell in cells):
            continue
        if any(cell.strip() for cell in cells[len(header) :]):
            findings.add("bad-row", place, f"{len(cells)} fields for {len(header)} columns")
            continue
        yield place, dict(zip(header, cells, strict=False))


def write(conversations: Sequence[Conversation], path: Path) -> None:
    """Write a message a row, in UTF-8."""
    with path.open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file, lineterminator="\r\n")
        rows.writerow(["conversation_id", "order", "speaker", "text", "outcome"])
        for conversation in conversations:
            for order, message in enumerate(conversation.messages, start=1):
                speaker = "customer" if message["role"] == "user" else "seller"
                rows.writerow(
                    [conversation.id, order, speaker, message["content"], conversation.outcome]
                )
