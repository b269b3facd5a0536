"""Nothing secret is stored or shown: keys, passwords, and addresses that carry them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, is_dataclass
from functools import partial
from pathlib import Path
from typing import Any

HIDDEN = "(not shown)"

_SECRET = {
    "apikey",
    "auth",
    "authorization",
    "bearer",
    "cookie",
    "credential",
    "credentials",
    "key",
    "keys",
    "passphrase",
    "passwd",
    "password",
    "pwd",
    "secret",
    "secrets",
    "token",
}
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
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


def _is_plain(data: Any) -> bool:
    return isinstance(data, str | int | float | Path) or hasattr(data, "tolist")


def _described(thing: Any) -> Any:
    """Return what may be told of code and objects: their names, and options that are bound."""
    if isinstance(thing, partial):
        options = dict(enumerate(map(redacted, thing.args))) | thing.keywords
        return {"factory": _described(thing.func), **redacted(options)}
    if is_dataclass(thing) and not isinstance(thing, type):
        return redacted(asdict(thing))
    named = thing if hasattr(thing, "__qualname__") else type(thing)
    return f"{named.__module__}:{named.__qualname__}"


def is_secret(name: str) -> bool:
    """Tell whether what is called so is secret: ``api_key``, ``authToken``, ``X-API-KEY``."""
    return not _SECRET.isdisjoint(word.lower() for word in _WORD.findall(name))


def _value(name: str, value: Any) -> Any:
    if not is_secret(name) or value is None or isinstance(value, bool | int | float):
        return redacted(value)
    variable = name.lower().endswith("_variable")
    if variable and isinstance(value, str) and _VARIABLE.fullmatch(value):
        return value
    return HIDDEN
