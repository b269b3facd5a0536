"""How things go wrong: the user's mistake, the customer's backend, and somebody's own code."""

from __future__ import annotations

import difflib
import sys
import traceback
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType


class ConvgymError(ValueError):
    """A user's mistake, told in one line: what was expected, what came, how to mend it.

    The command line prints the message and exits with code 2.
    """


class InfrastructureError(RuntimeError):
    """A backend failed, the customer's or the seller's: neither a sale nor a loss.

    A customer raises it from ``reset`` or ``respond``. A policy that raises it from ``act`` has
    failed in every conversation that it was asked about; where some alone failed, it says so in
    ``Response.failure``.
    """


class OwnError(RuntimeError):
    """An agent, a seller or a customer raised an error of its own, which is the cause of this one.

    The command line shows the traceback of the cause, and then says whose it is.
    """


_OUT_OF_MEMORY = ("out of memory", "can't allocate memory", "not enough memory")


def is_out_of_memory(error: BaseException | None) -> bool:
    """Tell whether an error says that the memory of a device, or of this machine, is full.

    What libraries raise then is a RuntimeError that says so in its words.
    """
    if isinstance(error, MemoryError):
        return True
    words = str(error).lower()
    return isinstance(error, RuntimeError) and any(said in words for said in _OUT_OF_MEMORY)


@contextmanager
def whose(who: str) -> Iterator[None]:
    """Raise what other people's code raises inside as an ``OwnError``: who it was, what, where.

    Errors that are told already, and Ctrl-C, pass. What would end the program otherwise, such as
    SystemExit or the end of a file, does not end it in silence.
    """
    try:
        yield
    except (ConvgymError, InfrastructureError, OwnError):
        raise
    except (Exception, SystemExit) as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        raise OwnError(f"{who} raised {reason} ({own_place(error)})") from error


def own_place(error: BaseException) -> str:
    """Return where an error came from: file, line and function.

    It is the deepest place in code that is neither ours nor Python's, and no installed package's
    where there is any other: the line of the one who can mend it.
    """
    frames = list(traceback.walk_tb(error.__traceback__))
    others = [(frame, line) for frame, line in frames if not _is_known(frame.f_globals)]
    frame, line = (_written_here(others) or others or frames)[-1]
    return f"{Path(frame.f_code.co_filename).name}, line {line}, in {frame.f_code.co_name}"


def is_from_elsewhere(error: BaseException) -> bool:
    """Tell whether an error came through code that is neither ours, Python's nor a package's."""
    frames = traceback.walk_tb(error.__traceback__)
    return bool(_written_here((f, line) for f, line in frames if not _is_known(f.f_globals)))


def _written_here(frames: Iterable[tuple[FrameType, int]]) -> list[tuple[FrameType, int]]:
    return [
        (frame, line) for frame, line in frames if "site-packages" not in frame.f_code.co_filename
    ]


def _is_known(scope: Mapping[str, object]) -> bool:
    package = str(scope.get("__name__", "")).partition(".")[0]
    return package == "convgym" or package in sys.stdlib_module_names - {"__main__"}


def unknown(kind: str, name: object, known: Iterable[str]) -> ConvgymError:
    """Return the error for a name that is not in a registry, with the nearest known name."""
    names = sorted(known)
    near = difflib.get_close_matches(str(name), names, n=1)
    hint = f" (did you mean {near[0]!r}?)" if near else ""
    return ConvgymError(f"unknown {kind} {name!r}; known: {', '.join(names)}{hint}")
