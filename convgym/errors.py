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
        raise OwnError(raised(who, error)) from error


def raised(who: str, error: BaseException) -> str:
    """Return who raised an error, what it says, and where it came from: file, line and function.

    It is the deepest place in code that is neither ours nor Python's, and no installed package's
    where there is any other: the line of the one who can mend it.
    """
    frames = list(traceback.walk_tb(error.__traceback__))
    others = _others(error)
    frame, line = ([each for each in others if not _is_installed(each[0])] or others or frames)[-1]
    place = f"{Path(frame.f_code.co_filename).name}, line {line}, in {frame.f_code.co_name}"
    reason = " ".join(f"{type(error).__name__}: {error}".split())[:300]
    return f"{who} raised {reason} ({place})"


def is_from_elsewhere(error: BaseException) -> bool:
    """Tell whether an error came through code that is neither ours, Python's nor a package's."""
    return not all(_is_installed(frame) for frame, _ in _others(error))


def _others(error: BaseException) -> list[tuple[FrameType, int]]:
    """Return the frames of an error, and lines, in code that is neither ours nor Python's."""
    frames = traceback.walk_tb(error.__traceback__)
    return [(frame, line) for frame, line in frames if not _is_known(frame.f_globals)]


def _is_installed(frame: FrameType) -> bool:
    # Debian's Python keeps packages under the other name.
    return not {"site-packages", "dist-packages"}.isdisjoint(Path(frame.f_code.co_filename).parts)


def _is_known(scope: Mapping[str, object]) -> bool:
    package = str(scope.get("__name__", "")).partition(".")[0]
    return package == "convgym" or package in sys.stdlib_module_names - {"__main__"}


def unknown(kind: str, name: object, known: Iterable[str]) -> ConvgymError:
    """Return the error for a name that is not in a registry, with the nearest known name."""
    names = sorted(known)
    return ConvgymError(f"unknown {kind} {name!r}; known: {', '.join(names)}{nearest(name, names)}")


def nearest(name: object, names: Iterable[str]) -> str:
    """Return a hint in brackets at the name that is most like this one; empty if none is."""
    known = [*names]
    same = [each for each in known if each.casefold() == str(name).casefold()]
    near = difflib.get_close_matches(str(name), known, n=1) or same
    return f" (did you mean {near[0]!r}?)" if near else ""
