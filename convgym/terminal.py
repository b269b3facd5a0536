"""Printing on consoles of any encoding: what cannot be shown becomes a question mark."""

from __future__ import annotations

import sys


def show(text: str) -> None:
    """Print ``text`` as a line of its own, at once."""
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    print(text.encode(encoding, "replace").decode(encoding), flush=True)


def tolerate_consoles() -> None:
    """Let nothing that this program prints or reads end it for its characters.

    A conversation may hold any character, an old console or a pipe shows some of them.
    """
    for stream in (sys.stdin, sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)  # not every stand-in has it
        if reconfigure is not None:
            reconfigure(errors="replace")
