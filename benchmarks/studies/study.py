"""The frame of every study: where it may write, and what its file says of its making."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from convgym.benchmarks.provenance import provenance
from convgym.benchmarks.terminal import say
from convgym.datafiles import check_new_file, write_json
from convgym.errors import ConvgymError


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


def claim_pieces(folder: Path, settings: Mapping[str, Any]) -> None:
    """Make the folder of a study's pieces, or go on with it.

    Raises:
        ConvgymError: for a folder whose pieces were made with other settings.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "settings.json"
    if not path.exists():
        write_json(path, settings)
    if (kept := json.loads(path.read_text())) != settings:
        raise ConvgymError(
            f"{folder} holds pieces of a study with other settings: expected {settings}, found"
            f" {kept}; give another file, or delete the folder"
        )


def show(*lines: str) -> None:
    """Print what was found so far."""
    for line in lines:
        say(line)
