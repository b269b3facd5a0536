"""Objects in a JSON file: one a line, or a list of them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from convgym.errors import ConvgymError
from convgym.exchange.columns import MESSAGES
from convgym.exchange.findings import Findings
from convgym.exchange.text_file import read_text

Row = Mapping[str, object]


def json_rows(path: Path, encoding: str | None, findings: Findings) -> Iterator[tuple[str, Row]]:
    """Yield every object with its place, ``line 3`` or ``item 3``; others go to the findings.

    Raises:
        ConvgymError: for a list that is no JSON, and for a file without any object.
    """
    text = read_text(path, encoding)
    objects = 0
    for place, value, problem in _values(path, text):
        if isinstance(value, dict):
            objects += 1
            yield place, value
        else:
            kind = type(value).__name__
            findings.add("bad-row", place, problem or f"expected a JSON object, got a {kind}")
    if not objects:
        raise ConvgymError(f"{path} holds no JSON object: expected one conversation a line")


def _values(path: Path, text: str) -> Iterator[tuple[str, object, str]]:
    whole = _parsed(text) if text.lstrip()[:1] in {"[", "{"} else (None, "")
    listed = _unwrapped(path, whole[0])
    if listed is not None:
        for number, value in enumerate(listed, start=1):
            yield f"item {number}", value, ""
    elif isinstance(whole[0], dict):  # one conversation, maybe on many lines
        yield "line 1", *whole
    elif text.lstrip().startswith("[") and _parsed(text.lstrip().split("\n")[0])[1]:
        raise ConvgymError(f"{path} begins as a JSON list, but is none: {whole[1]}")
    else:
        for number, line in enumerate(text.split("\n"), start=1):
            if line.strip("\ufeff \t\r"):
                yield f"line {number}", *_parsed(line.strip("\ufeff \t\r"))


def _unwrapped(path: Path, whole: object) -> list[object] | None:
    """Return a list of rows, also of one that an object holds, ``{"data": [...]}``, or None."""
    if isinstance(whole, list) or not isinstance(whole, dict):
        return whole if isinstance(whole, list) else None
    lists = {
        name: value
        for name, value in whole.items()
        if isinstance(value, list) and any(isinstance(row, dict) for row in value)
    }
    if any(name in MESSAGES and not _hold_messages(rows) for name, rows in lists.items()):
        return None  # the messages of one conversation
    if len(lists) > 1:
        raise ConvgymError(
            f"{path} is one object with several lists, {', '.join(map(repr, lists))}: keep the one"
            " that holds the conversations"
        )
    return next(iter(lists.values()), None)


def _hold_messages(rows: Sequence[object]) -> bool:
    held = (list, dict)
    return any(
        isinstance(row, dict) and isinstance(row.get(name), held)
        for row in rows
        for name in MESSAGES
    )


def _parsed(text: str) -> tuple[object, str]:
    try:
        return json.loads(text), ""
    except (ValueError, RecursionError) as error:
        return None, str(error)


def write_json_rows(rows: Sequence[Row], path: Path) -> None:
    """Write an object a line, or a list of them where the name ends in ``.json``."""
    if ".json" in path.suffixes[-1:]:
        text = json.dumps(rows, ensure_ascii=False, indent=1) + "\n"
    else:
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    path.write_bytes(text.encode())
