"""Logs of ours in the formats of others."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from convgym.conversation import Episode
from convgym.datafiles import check_new_file, check_new_folder, settle
from convgym.errors import ConvgymError
from convgym.exchange.conversations import conversations
from convgym.exchange.formats import FORMATS, check_target, find_format, guess_target


@dataclass(frozen=True)
class Exported:
    """How many conversations were written, and in which format."""

    format: str
    written: int
    left_out: int
    """Those that a failing customer broke off, and those without a turn: others know no such."""


def export_log(
    episodes: Iterable[Episode], target: str | Path, format: str | None = None
) -> Exported:
    """Write episodes in another format; what is there is never overwritten.

    The target appears once it is whole. Token ids, log-probabilities, and metadata other than
    ``original_id`` have no place in these formats.

    Args:
        episodes: what to write.
        target: the file or folder.
        format: a name of ``convgym.exchange.formats.FORMATS``; None goes by the target's name.

    Raises:
        ConvgymError: for a format that is unknown or only read, a file whose ending says another, a
            target that exists or cannot be written, a package that is missing, or no conversation
            at all.
    """
    path = Path(target)
    name = format or guess_target(path)
    chosen = find_format(name)
    if chosen.write is None:
        writable = [other for other, entry in FORMATS.items() if entry.write]
        raise ConvgymError(f"{name} is only read; written are {', '.join(writable)}")
    check_target(path, name)
    every = list(episodes)
    kept = [episode for episode in every if episode.valid and episode.turns]
    if not kept:
        raise ConvgymError(f"there is no whole conversation to write to {path}")
    if chosen.is_folder:
        check_new_folder(path)
        if path.exists():
            path.rmdir()  # it is empty, and comes back whole
    else:
        check_new_file(path)
    folder = path.parent / f".{path.name}.{secrets.token_hex(4)}.part"
    part = folder / path.name  # the same name: formats go by it
    try:
        folder.mkdir(parents=chosen.is_folder)
        chosen.write(conversations(kept), part)
        settle(part, path)
    except OSError as error:
        raise ConvgymError(f"cannot write {path}: {error.strerror or error}") from None
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return Exported(name, len(kept), len(every) - len(kept))
