"""Outputs that are whole or not there, and that know what they were made from."""

from __future__ import annotations

import json
import platform
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any

from convgym.datafiles import check_new_folder, dumps, part_of, read_object, settle
from convgym.errors import ConvgymError

REPORT = "report.json"
"""In every folder that a step wrote: what it was made from, and what came out."""

_PACKAGES = ("convgym", "numpy", "torch", "transformers", "tokenizers")


def finished(folder: Path, identity: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the report of an output that is there already, or None if it is to be made.

    Raises:
        ConvgymError: for a folder that was made from something else, or that cannot be written.
    """
    if (folder / REPORT).is_file():
        return finished_report(folder / REPORT, identity, folder)
    if not folder.is_dir() or any(folder.iterdir()):
        check_new_folder(folder)
    return None


def finished_report(file: Path, identity: Mapping[str, Any], output: Path) -> dict[str, Any]:
    """Return the report of a finished output; ConvgymError if it was made from something else."""
    report = read_report(file)
    wanted = json.loads(dumps(identity))
    made_from = report.get("made_from")
    if made_from != wanted:
        given = made_from if isinstance(made_from, dict) else {}
        different = [name for name in wanted if given.get(name) != wanted[name]]
        raise ConvgymError(
            f"{output} is finished and was made from something else"
            f" ({', '.join(different) or 'more'} differs): it is never overwritten, give another"
            " path"
        )
    return report


def read_report(file: Path) -> dict[str, Any]:
    """Return a report; ConvgymError where it is damaged or cannot be read."""
    return read_object(file, "is no report, or damaged")


@contextmanager
def building(folder: Path) -> Iterator[Path]:
    """Make a folder under another name, and move it into place once it is whole.

    What an interrupted attempt left is thrown away.
    """
    part = part_of(folder)
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    try:
        yield part
        settle(part, folder)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that decide the numbers."""
    known = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            known[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return known
