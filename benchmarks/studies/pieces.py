"""The pieces of a long study: each is made once, and kept beside the study's file."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from convgym.benchmarks.terminal import say
from convgym.datafiles import part_of, plain, read_object, write_json
from convgym.errors import ConvgymError

OUTPUT = "New file; what is finished is kept beside it, in FILE.parts."
"""Help of the argument that names a study's file."""


class Pieces:
    """The finished pieces of a study, in the folder FILE.parts.

    Every piece keeps the settings that it was made with; one of other settings is none of these.

    Args:
        output: FILE, the study's.
        settings: what must be equal for a piece to be of this study.

    Raises:
        ConvgymError: from its methods, for a piece that is damaged or was made with other settings,
            and where none can be kept.
    """

    def __init__(self, output: Path, settings: Mapping[str, Any]) -> None:
        self.folder = folder_of(output)
        self.settings: Mapping[str, Any] = json.loads(json.dumps(plain(settings)))
        if self.folder.exists() and not self.folder.is_dir():
            raise ConvgymError(
                f"{self.folder} is in the way of the study's pieces: expected a folder or nothing"
            )

    def read(self, names: Sequence[str]) -> dict[str, dict[str, Any]]:
        """Return those of these pieces that are there, by name."""
        return {name: self._piece(name) for name in names if self._path(name).exists()}

    def add(self, name: str, piece: Mapping[str, Any]) -> dict[str, Any]:
        """Keep a piece; return it as it is read."""
        path = self._path(name)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_json(path, {**piece, "settings": self.settings})
        except OSError as error:
            raise ConvgymError(f"cannot write to {path}: {error.strerror}") from None
        return self._piece(name)

    @contextmanager
    def goes_on(self) -> Iterator[None]:
        """Have Ctrl-C say where the pieces are from which the same command goes on."""
        try:
            yield
        except KeyboardInterrupt:
            said = f"interrupted; the same command goes on with what is finished in {self.folder}"
            say(said, error=True)
            raise SystemExit(130) from None

    def _path(self, name: str) -> Path:
        return self.folder / f"{name.replace(' ', '-')}.json"

    def _piece(self, name: str) -> dict[str, Any]:
        path = self._path(name)
        try:
            piece = read_object(path, "is damaged")
            if not isinstance(piece.get("settings"), dict):
                raise ConvgymError(f"{path} is damaged: it does not say what it was made with")
        except ConvgymError as error:
            raise ConvgymError(f"{error}; delete it, and the study makes it again") from None
        require_equal(self.folder, piece.pop("settings"), self.settings)
        return piece


def folder_of(output: Path) -> Path:
    """Return where the pieces of a study are whose file is ``output``."""
    return output.parent / f"{output.name}.parts"


def claim_folder(folder: Path, settings: Mapping[str, Any]) -> None:
    """Make a folder of trainings that a study makes one by one, or go on with it.

    Raises:
        ConvgymError: for a folder of other settings, or where there can be none.
    """
    path = folder / "settings.json"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if {*folder.iterdir()} <= {part_of(path)}:  # empty, or another process is at this, too
            write_json(path, settings)
    except OSError as error:
        raise ConvgymError(f"cannot write to {folder}: {error.strerror}") from None
    try:
        kept = read_object(path, "is damaged")
    except ConvgymError as error:
        # Nothing else says what its trainings were made with.
        raise ConvgymError(f"{error}; give another folder, or delete {folder}") from None
    require_equal(folder, kept, settings)


def require_equal(folder: Path, kept: Mapping[str, Any], settings: Mapping[str, Any]) -> None:
    """Raise ConvgymError unless what a folder was made with is what is asked for."""
    if other := [name for name in {**settings, **kept} if settings.get(name) != kept.get(name)]:
        told = ", ".join(f"{name} {kept.get(name)}, not {settings.get(name)}" for name in other)
        raise ConvgymError(
            f"{folder} holds pieces of a study with other settings: {told}; give another file, or"
            " delete the folder"
        )
