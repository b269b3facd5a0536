"""Validated data files: the catalogues and personas that come with the package, or a user's."""

from __future__ import annotations

import codecs
import errno
import json
import math
import os
import stat
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from itertools import chain, count
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from convgym.errors import ConvgymError, unknown

_PACKAGE = Path(__file__).parent / "data"
_TOLD = 12
"""Mistakes in one file that are told at once."""
# What Windows or Unix alone have: bytes as they are, and pipes that nobody waits for.
_BINARY, _AT_ONCE = getattr(os, "O_BINARY", 0), getattr(os, "O_NONBLOCK", 0)


class Frozen(BaseModel):
    """A part of a data file: immutable, and strict about fields it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


Model = TypeVar("Model", bound=Frozen)


def names(folder: str) -> list[str]:
    """Return the names of the data files in a folder of the package."""
    return sorted(path.stem for path in (_PACKAGE / folder).glob("*.json"))


def find(source: str | Path, folder: str, kind: str) -> Path:
    """Return the path of a data file: one of the package's by name, or any ``.json`` file.

    Raises ConvgymError for a name that the package does not have, or what is no name at all.
    """
    if not isinstance(source, (str, Path)):
        raise ConvgymError(f"a {kind} is given by name or JSON file, got {repr(source)[:60]}")
    if isinstance(source, str) and not source.endswith(".json"):
        if source not in names(folder):
            raise unknown(kind, source, names(folder))
        return _PACKAGE / folder / f"{source}.json"
    return Path(source)


def read(model: type[Model], path: Path, kind: str) -> Model:
    """Read and validate a data file; ConvgymError tells all that is wrong with one, and where."""
    try:
        return model.model_validate_json(read_whole(path))
    except OSError as error:
        raise ConvgymError(f"cannot read the {kind} {path}: {error.strerror}") from None
    except ValidationError as error:
        raise ConvgymError(f"{kind} {path} is not valid {_mistakes(error)}") from None


def _mistakes(error: ValidationError) -> str:
    """Return all mistakes of a file, each with its place, on one line."""
    problems = error.errors()
    told = [
        f"at {'.'.join(str(part) for part in each['loc']) or 'the whole file'}: {each['msg']}"
        for each in problems[:_TOLD]
    ]
    return "; ".join(told) + (
        f"; and {len(problems) - _TOLD} more" if len(problems) > _TOLD else ""
    )


def read_whole(path: Path) -> bytes:
    """Return what a file holds, without the byte order mark that Windows tools put before UTF-8.

    Raises OSError when it cannot be read, and for a pipe or a device: those may never end.
    """
    with open(os.open(path, os.O_RDONLY | _BINARY | _AT_ONCE), "rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise OSError(errno.EINVAL, "not a plain file", str(path))
        return file.read().removeprefix(codecs.BOM_UTF8)


def read_object(path: Path, flaw: str) -> dict[str, Any]:
    """Return the JSON object that a file holds.

    Raises:
        ConvgymError: for a file that cannot be read; and for one that holds no such thing, which
            "PATH ``flaw``" then names: "is damaged".
    """
    try:
        told = json.loads(read_whole(path))
    except OSError as error:
        raise ConvgymError(f"cannot read {path}: {error.strerror}") from None
    except ValueError as error:
        raise ConvgymError(f"{path} {flaw}: {error}") from None
    if not isinstance(told, dict):
        raise ConvgymError(f"{path} {flaw}: expected a JSON object, got {repr(told)[:40]}")
    return told


def write_json(path: Path, data: Mapping[str, Any]) -> None:
    """Write ``data`` so that a reader finds the old file or the new one, never a part."""
    write_atomically(path, dumps(data, indent=2) + "\n")


def free_path(path: Path) -> Path:
    """Return ``path``, or if there is something, the first of name-2, name-3, ... that is free."""
    names = (path.with_stem(f"{path.stem}-{number}") for number in count(2))
    return next(each for each in chain([path], names) if not each.exists())


def check_new_file(path: Path, *, make_folder: bool = False) -> None:
    """Raise ConvgymError unless a new file can be written at ``path``.

    For whoever works long or pays for what will be written there: mistakes are told beforehand.
    Its folder must exist, or is made.
    """
    if os.path.lexists(path):  # a link to nowhere, too
        raise ConvgymError(f"{path} exists and is never overwritten; give another path")
    _check_folder(path.parent, path, make=make_folder)


def check_new_folder(path: Path) -> None:
    """Raise ConvgymError unless ``path`` can become a new folder, or is an empty one.

    It is made by whoever writes: a mistake that is told afterwards leaves no folder behind.
    """
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise ConvgymError(f"{path} exists and is never overwritten; give another folder")
    missing = [folder for folder in (path, *path.parents) if not folder.exists()]
    try:
        _check_folder(path, path, make=True)
    finally:
        for folder in missing:
            with suppress(OSError):  # never made, or somebody's by now
                folder.rmdir()


def _check_folder(folder: Path, wanted: Path, *, make: bool) -> None:
    """Try to write into ``folder``, which is made if it may be."""
    try:
        if make:
            folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        missing = "" if wanted.parent.is_dir() else f" (there is no folder {wanted.parent})"
        raise ConvgymError(f"cannot write to {wanted}: {error.strerror}{missing}") from None


def part_of(path: Path) -> Path:
    """Return where a file is written before it is moved into place."""
    return path.with_name(f".{path.name}.part")


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write a file under another name, then move it into place.

    A reader finds the old file or the new one, never a part, also after a power cut. Links are
    replaced, not followed. Raises OSError when it cannot be written.
    """
    data = content.encode() if isinstance(content, str) else content
    part = part_of(path)
    part.unlink(missing_ok=True)  # of an interrupted attempt
    try:
        with part.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        settle(part, path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def settle(part: Path, path: Path) -> None:
    """Move a whole file into place, and let the folder's entry reach the disk."""
    part.replace(path)
    try:
        folder = os.open(path.parent, os.O_RDONLY)
    except OSError:  # Windows opens no folders
        return
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def dumps(data: Any, indent: int | None = None) -> str:
    """Return ``data`` as JSON text; raises ValueError for nothing that ``plain`` takes."""
    return json.dumps(plain(data), indent=indent, allow_nan=False, ensure_ascii=False)


def plain(data: Any) -> Any:
    """Return ``data`` as JSON knows it: arrays as lists, numbers that are not finite as null."""
    if isinstance(data, Mapping):
        return {str(key): plain(value) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [plain(value) for value in data]
    if hasattr(data, "tolist"):
        return plain(data.tolist())
    if isinstance(data, float) and not math.isfinite(data):
        return None
    return data if data is None or isinstance(data, str | int | float) else str(data)
