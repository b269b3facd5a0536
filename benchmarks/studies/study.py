"""The frame of every study: where it may write, and what its file says of its making."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
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
            overwritten, but for a study that was stored before all its pieces were there) or
            cannot be written.
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


def claim_pieces(folder: Path, settings: Mapping[str, Any]) -> None:
    """Make the folder of a study's pieces, or go on with it.

    Raises:
        ConvgymError: for a folder whose pieces were made with other settings.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "settings.json"
    if not path.exists():
        write_json(path, settings)
    kept = read_piece(path)
    if other := [name for name in {**settings, **kept} if settings.get(name) != kept.get(name)]:
        told = ", ".join(f"{name} {kept.get(name)}, not {settings.get(name)}" for name in other)
        raise ConvgymError(
            f"{folder} holds pieces of a study with other settings: {told}; give another file, or"
            " delete the folder"
        )


def read_piece(path: Path) -> Any:
    """Return what a file among a study's pieces says.

    Raises:
        ConvgymError: for a file that is damaged.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ConvgymError(
            f"{path} is damaged ({error}): delete it, and the study makes it again"
        ) from error


@contextmanager
def goes_on(pieces: Path) -> Iterator[None]:
    """Have Ctrl-C say where the pieces are from which the same command goes on."""
    try:
        yield
    except KeyboardInterrupt:
        say(f"interrupted; the same command goes on with what is finished in {pieces}", error=True)
        raise SystemExit(130) from None


def _unfinished(path: Path) -> bool:
    """Return whether a file is of a study that goes on here: its pieces are beside it, not all."""
    if not path.with_suffix(".parts").is_dir():
        return False
    try:
        return bool(json.loads(path.read_text(encoding="utf-8"))["not_made"])
    except (OSError, ValueError, KeyError, TypeError):
        return False


def show(*lines: str) -> None:
    """Print what was found so far."""
    for line in lines:
        say(line)
