"""What reaches the terminal: whatever its encoding, and nothing that would steer it."""

from __future__ import annotations

import errno
import sys
import traceback
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, NoReturn

from convgym.errors import (
    ConvgymError,
    InfrastructureError,
    OwnError,
    is_from_elsewhere,
    is_out_of_memory,
    raised,
)
from convgym.installing import install_command

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

# The packages that only learning and pictures need, and the extras that install them.
_LEARNING = ("torch", "transformers", "tokenizers", "safetensors", "peft", "matplotlib")
_EXTRAS = {**dict.fromkeys(_LEARNING, "train"), "trl": "trl"}

# What the place where files go may refuse at any time.
_OF_THE_DISK = {
    errno.EACCES,
    errno.EDQUOT,
    errno.EFBIG,
    errno.EIO,
    errno.ENAMETOOLONG,
    errno.ENOSPC,
    errno.EPERM,
    errno.EROFS,
}

_NO_END = 10_000
"""Characters of a line: more than any table has."""
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


@contextmanager
def errors_in_one_line() -> Iterator[None]:
    """End the program with one line on stderr for whatever is not a fault of ours.

    A user's mistake exits with 2, a failed backend with 1, an interruption with 130. Errors of
    somebody's own code come with their traceback, and with 1.
    """
    try:
        with _interruptions_in_one_line():
            yield
    except ConvgymError as error:
        _end(str(error))
    except OwnError as error:
        _end_for_the_machine(error.__cause__)
        _end_with_traceback(error.__cause__, str(error))
    except InfrastructureError as error:  # nobody's mistake: the customer's backend is down
        _end(str(error), code=1)
    except BrokenPipeError:  # the reader of our output, `head` say, went away
        sys.stdout = None
        raise SystemExit(0) from None
    except Exception as error:
        _end_for_the_machine(error)
        if not is_from_elsewhere(error):
            raise
        _end_with_traceback(error, raised("your own code", error))


@contextmanager
def _interruptions_in_one_line() -> Iterator[None]:
    try:
        yield
    except (Exception, SystemExit, KeyboardInterrupt) as error:
        if not _is_interruption(error):
            raise
        say("interrupted", error=True)
        raise SystemExit(130) from None


def _is_interruption(error: BaseException | None) -> bool:
    """Tell whether an error is Ctrl-C, or what others made of it: Typer, a library that loads."""
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return error is not None


def _end_for_the_machine(error: BaseException | None) -> None:
    """End for what this machine lacks: room on the disk or in memory, or a package."""
    if isinstance(error, OSError):
        _end_for_disk(error)
    if isinstance(error, ModuleNotFoundError):
        _end_for_module(error)
    _end_if_memory_is_full(error)


def _end_with_traceback(error: BaseException | None, message: str) -> NoReturn:
    say("".join(traceback.format_exception(error)), error=True)
    _end(message, code=1)


def _end_for_module(error: ModuleNotFoundError) -> None:
    missing = (error.name or "").partition(".")[0]
    if extra := _EXTRAS.get(missing):
        _end(f"this needs {missing}, which is not installed: {install_command(extra)}")


def _end_if_memory_is_full(error: BaseException | None) -> None:
    if is_out_of_memory(error):
        reason = " ".join(str(error).split())[:160]
        _end(
            f"memory is full ({reason}): set a smaller policy.reading_batch, minibatch or"
            " policy.generation_batch, use --dtype bfloat16, or another --device",
            code=1,
        )


def _end_for_disk(error: OSError) -> None:
    if error.errno in _OF_THE_DISK:
        where = f": {error.filename}" if error.filename else ""
        _end(f"{error.strerror}{where}")


def _end(message: str, code: int = 2) -> NoReturn:
    say(f"convgym: error: {' '.join(message.split())}", error=True)
    raise SystemExit(code)


def show_table(table: Table) -> None:
    """Print a table whole: where the terminal is narrower its lines run on, and no cell is cut."""
    screen = console()
    room = screen.options.update(max_width=_NO_END)
    screen.width = max(screen.width, screen.measure(table, options=room).maximum)
    screen.print(table)


def console(*, error: bool = False) -> Console:
    """Return a console; a wide one where no terminal breaks lines."""
    from rich.console import Console

    made = Console(stderr=error)
    return made if made.is_terminal else Console(stderr=error, width=200)
