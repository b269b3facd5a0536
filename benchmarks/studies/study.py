"""The frame of every study: where it may write, and what its file says of its making."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from convgym.benchmarks.provenance import provenance
from convgym.benchmarks.studies.pieces import folder_of
from convgym.benchmarks.terminal import say
from convgym.datafiles import check_new_file, write_json


class Study:
    """One measurement, and the file in which it is kept.

    Args:
        path: the file, new; None to store nothing.
        **facts: what is known beforehand, by name: seeds, sizes, settings.

    Raises:
        ConvgymError: at once, before anything is measured, when the file exists (nothing is
            overwritten, but for a study whose file leaves out some of its pieces, in ``left_out``)
            or cannot be written.
    """

    def __init__(self, path: Path | None, **facts: Any) -> None:
        if path is not None and not _unfinished(path):
            check_new_file(path, make_folder=True)
        self.path = path
        # Taken now: a commit during hours of measuring is not what was measured.
        self.facts: dict[str, Any] = {**provenance(), **facts}

    def store(self, **facts: Any) -> None:
        """Add facts and write the file; readers find this version or the one before, whole."""
        self.facts.update(facts)
        if self.path is not None:
            write_json(self.path, self.facts)


def _unfinished(path: Path) -> bool:
    """Return whether a file is of a study that goes on here: its pieces are beside it, not all."""
    if not folder_of(path).is_dir():
        return False
    try:
        return bool(json.loads(path.read_text(encoding="utf-8"))["left_out"])
    except (OSError, ValueError, KeyError, TypeError):
        return False


def show(*lines: str) -> None:
    """Print what was found so far."""
    for line in lines:
        say(line)
