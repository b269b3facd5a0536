"""Files of one JSON object a line: mended after a writer that was stopped, and never emptied."""

from __future__ import annotations

import codecs
import json
import os
from typing import IO

from convgym.errors import ConvgymError


def mend(file: IO[bytes], name: str, mark: bytes) -> None:
    """Let a file end with a whole row: end the last one if it is whole, else cut it off.

    Args:
        file: the file, open for reading and writing; it is left at its end.
        name: what the file is called in errors.
        mark: what every row of the kind begins with, without white space.

    Raises:
        ConvgymError: unless the first row begins so, and the rest that would be cut off as well;
            the file is as it was.
    """
    start, last, known = 0, b"", False
    for line in file:
        text = without_byte_order_mark(line)
        if not known and text.strip():
            known = begins_as_row(text, mark)
            if not known:
                raise ConvgymError(
                    f"{name} is left as it is: its first line does not begin as ours do; choose"
                    " another name"
                )
        start, last = start + len(last), line
    if last.strip() and not last.endswith(b"\n"):
        rest = without_byte_order_mark(last)
        whole = whole_rows(rest)
        if not is_cut_off(rest[whole:], mark):
            raise ConvgymError(
                f"{name} is left as it is: its last line is no row that was cut off; mend that"
                " line, or choose another name"
            )
        file.seek(start + len(last) - len(rest) + whole)
        if whole:
            file.write(b"\n")
        file.truncate()
    file.seek(0, os.SEEK_END)


def is_cut_off(text: bytes, mark: bytes) -> bool:
    """Return whether a rest is blank or the beginning of one row, with no other row within."""
    compact = b"".join(text.split())
    return not compact or (begins_as_row(text, mark) and mark not in compact[1:])


def begins_as_row(text: bytes, mark: bytes) -> bool:
    """Return whether a line begins with ``mark``, white space aside.

    One that has no end may have been cut off within the mark.
    """
    head = b"".join(text[: 2 * len(mark)].split())[: len(mark)]
    return head == mark or (bool(head) and mark.startswith(head) and not text.endswith(b"\n"))


def whole_rows(text: bytes) -> int:
    """Return after how many bytes the whole JSON objects at the beginning of a line end."""
    decoder, end = json.JSONDecoder(), 0
    words = text.decode(errors="surrogateescape")
    while True:
        begin = end + len(words[end:]) - len(words[end:].lstrip())
        try:
            value, after = decoder.raw_decode(words, begin)
        except (ValueError, RecursionError):
            value = None
        if not isinstance(value, dict):
            return len(words[:end].encode(errors="surrogateescape"))
        end = after


def without_byte_order_mark(line: bytes) -> bytes:
    """Return a line without the mark that Windows tools put before a file.

    Where files were joined, it stands before other lines than the first as well.
    """
    return line.removeprefix(codecs.BOM_UTF8)
