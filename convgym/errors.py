"""The two ways things go wrong: the user's mistake, and the customer's backend."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class ConvgymError(ValueError):
    """A user's mistake, told in one line: what was expected, what came, how to mend it.

    The command line prints the message and exits with code 2.
    """


class InfrastructureError(RuntimeError):
    """The customer's backend failed. The episode counts neither as a sale nor as a loss."""


def unknown(kind: str, name: object, known: Iterable[str]) -> ConvgymError:
    """Return the error for a name that is not in a registry, with the nearest known name."""
    names = sorted(known)
    near = difflib.get_close_matches(str(name), names, n=1)
    hint = f" (did you mean {near[0]!r}?)" if near else ""
    return ConvgymError(f"unknown {kind} {name!r}; known: {', '.join(names)}{hint}")
