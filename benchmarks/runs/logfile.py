"""A log of conversations that is there as a whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from convgym.conversation import Episode
from convgym.datafiles import settle
from convgym.logs import write_log


def write_whole_log(path: Path, episodes: Iterable[Episode]) -> int:
    """Write a log under another name, then move it into place; return how many there were.

    Whoever reads ``path`` finds what was there before or the new log, never a part. A link at
    ``path`` is replaced, not followed. Raises ConvgymError when it cannot be written.
    """
    part = path.with_name(f".part-{path.name}")  # the end of its name tells of compression
    part.unlink(missing_ok=True)
    try:
        count = write_log(part, episodes)
        with part.open("rb") as file:
            os.fsync(file.fileno())
        settle(part, path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    return count
