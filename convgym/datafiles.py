"""Validated data files: the catalogues and personas that come with the package, or a user's."""

from __future__ import annotations

import codecs
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from convgym.errors import ConvgymError, unknown

_PACKAGE = Path(__file__).parent


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
    """Read and validate a data file; raises ConvgymError for a bad file, with the place in it."""
    try:
        # Windows tools put a byte order mark before UTF-8.
        return model.model_validate_json(path.read_bytes().removeprefix(codecs.BOM_UTF8))
    except OSError as error:
        raise ConvgymError(f"cannot read the {kind} {path}: {error.strerror}") from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the whole file"
        raise ConvgymError(f"{kind} {path} is not valid at {where}: {first['msg']}") from None
