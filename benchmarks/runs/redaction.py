"""Nothing secret is stored or shown: keys, passwords, and addresses that carry them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from functools import partial
from pathlib import Path
from typing import Any

from convgym.secrets import is_secret_name

HIDDEN = "(not shown)"

_VARIABLE = re.compile(r"[A-Z_][A-Z0-9_]*")
_USER = re.compile(r"(?<=://)[^/?#\s@]+@")
_QUERY = re.compile(r"(?<=[^?]\?)[^#\s]+")


def redacted(data: Any) -> Any:
    """Return ``data`` with everything hidden that is a secret by its name or within an address.

    Numbers, truth values and None are never secrets: ``max_new_tokens`` is none. What a name that
    ends in ``_variable`` holds is shown where it is written as environment variables are. Of
    code and objects their names are told, which are the same in every process.
    """
    if isinstance(data, Mapping):
        return {name: _value(str(name), value) for name, value in data.items()}
    if isinstance(data, list | tuple):
        return [redacted(value) for value in data]
    if isinstance(data, str) and "://" in data:
        return _QUERY.sub(HIDDEN, _USER.sub(f"{HIDDEN}@", data))
    return data if data is None or _is_plain(data) else _described(data)


def settings_of(thing: Any) -> Any:
    """Return a config as mappings and lists, dataclasses within included.

    Other objects are left as they are; ``dataclasses.asdict`` would copy them, which not all bear.
    """
    if is_dataclass(thing) and not isinstance(thing, type):
        return {field.name: settings_of(getattr(thing, field.name)) for field in fields(thing)}
    if isinstance(thing, Mapping):
        return {name: settings_of(value) for name, value in thing.items()}
    return [settings_of(value) for value in thing] if isinstance(thing, list | tuple) else thing


def _is_plain(data: Any) -> bool:
    return isinstance(data, str | int | float | Path) or hasattr(data, "tolist")


def _described(thing: Any) -> Any:
    """Return what may be told of code and objects: their names, and options that are bound."""
    if isinstance(thing, partial):
        options = dict(enumerate(map(redacted, thing.args))) | thing.keywords
        return {"factory": _described(thing.func), **redacted(options)}
    if is_dataclass(thing) and not isinstance(thing, type):
        return redacted(settings_of(thing))
    named = thing if hasattr(thing, "__qualname__") else type(thing)
    return f"{named.__module__}:{named.__qualname__}"


def _value(name: str, value: Any) -> Any:
    if value is None or isinstance(value, bool | int | float):
        return value
    if name.lower().endswith("_variable") and is_secret_name(name[: -len("_variable")]):
        named = isinstance(value, str) and _VARIABLE.fullmatch(value)
        return value if named else HIDDEN
    return HIDDEN if is_secret_name(name) else redacted(value)
