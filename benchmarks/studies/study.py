"""The frame of every study: where it may write, and what its file says of its making."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from convgym.benchmarks.provenance import provenance
from convgym.benchmarks.terminal import say
from convgym.datafiles import check_new_file, write_json


class Study:
    """One measurement, and the file in which it is kept.

    Args:
        path: the file, new; None to store nothing.
        **facts: what is known beforehand, by name: seeds, sizes, settings.

    Raises:
        ConvgymError: at once, before anything is measured, when the file exists (nothing is
            overwritten) or cannot be written.
    """

    def __init__(self, path: Path | None, **facts: Any) -> None:
        if path is not None:
            check_new_file(path, make_folder=True)
        self.path = path
        # Taken now: a commit during hours of measuring is not what was measured.
        self.facts: dict[str, Any] = {**provenance(), **facts}

    def store(self, **facts: Any) -> None:
        """Add facts and write the file; readers find this version or the one before, whole."""
        self.facts.update(facts)
        if self.path is not None:
            write_json(self.path, self.facts)


def show(*lines: str) -> None:
    """Print what was found so far."""
    for line in lines:
        say(line)
