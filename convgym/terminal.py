"""Printing on consoles of any encoding: what cannot be shown becomes a question mark."""

from __future__ import annotations

import sys

from convgym.errors import ConvgymError


class QuitError(ConvgymError):
    """The person at the terminal left before the conversation was over."""

    def __init__(self) -> None:
        super().__init__("you left before the conversation was over")


def ask(prompt: str) -> str:
    """Return the line that somebody types, or that is piped in; ConvgymError if the input ends."""
    try:
        line = input(prompt)
    except EOFError:
        raise ConvgymError("the input ended before the conversation did") from None
    if not (sys.stdin and sys.stdin.isatty()):  # nobody sees it, or ends the prompt's line
        show(line)
    return line


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
