"""What reaches the terminal: whatever its encoding, and nothing that would steer it."""

from __future__ import annotations

import sys
import unicodedata
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from rich.console import Console

_KEPT = "\n\t"
# Marks that turn the reading direction: what is shown would not be what stands there.
_TURNING = frozenset("\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def printable(text: str) -> str:
    r"""Return ``text`` with control characters spelt out, line feeds and tabs apart.

    Names and fields of files that others wrote may hold sequences that recolour, clear or rename
    a terminal: they are shown as ``\x1b`` and the like.
    """
    return "".join(_spelt(character) for character in text)


def _spelt(character: str) -> str:
    if character in _KEPT:
        return character
    if unicodedata.category(character) == "Cc" or character in _TURNING:
        return character.encode("unicode_escape").decode("ascii")
    return character


def say(text: str = "", *, error: bool = False) -> None:
    """Print plain text to the output, or to the error stream, harmlessly."""
    print(printable(text), file=sys.stderr if error else sys.stdout, flush=True)


def show_any_text() -> None:
    """Let both streams show ``?`` for what their encoding lacks, in place of an error.

    Consoles of Windows and pipes often know a few hundred characters only, and a conversation that
    was held, perhaps paid for, must be shown all the same.
    """
    for stream in (sys.stdout, sys.stderr):
        _replace_unknown(stream)


def _replace_unknown(stream: TextIO | None) -> None:
    reconfigure = getattr(stream, "reconfigure", None)
    if reconfigure is not None:
        reconfigure(errors="replace")


def console(*, error: bool = False) -> Console:
    """Return a console that is wide enough for the table where there is no terminal."""
    from rich.console import Console

    found = Console(stderr=error)
    return found if found.is_terminal else Console(stderr=error, width=140)
