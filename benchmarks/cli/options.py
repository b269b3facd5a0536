"""Options by name from the command line: ``name=value``, as often as wanted."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from convgym.errors import ConvgymError

_SECRETS = {"api_key", "key", "password", "secret", "token"}


def read_options(items: Iterable[str]) -> dict[str, Any]:
    """Return options by name.

    Values are read as JSON where they are numbers, true, false, null or a text in quotes, and else
    taken as text. A name with a dot is an option of an option: ``budget.requests=100``.

    Raises:
        ConvgymError: for what is not ``name=value``, a name given twice, and a secret, which does
            not belong on a command line nor into the files of a run.
    """
    options: dict[str, Any] = {}
    for item in items:
        name, equals, value = item.partition("=")
        *outer, last = path = name.strip().split(".")
        if not equals or not all(part.isidentifier() for part in path):
            raise ConvgymError(f"expected an option as name=value, got {item!r}")
        if last in _SECRETS:
            raise ConvgymError(
                f"option {name!r}: keys come from the environment alone, see api_key_variable"
            )
        within = options
        for part in outer:
            within = within.setdefault(part, {})
            if not isinstance(within, dict):
                raise ConvgymError(f"option {part!r} is given as a value and with parts: drop one")
        if last in within:
            raise ConvgymError(f"option {name!r} is given twice")
        within[last] = _value(value.strip())
    return options


def read_settings(items: Iterable[str]) -> list[tuple[str, Any]]:
    """Return settings of agents by their path, ``iterative-ppo.rounds``, in the order given.

    Values are read as JSON where they are JSON, lists and objects included, and else taken as text.

    Raises:
        ConvgymError: for what is not ``agent.setting=value``, and a path given twice.
    """
    settings: dict[str, Any] = {}
    for item in items:
        path, equals, value = item.partition("=")
        path = path.strip()
        if not equals or "." not in path.strip("."):
            raise ConvgymError(f"expected a setting as agent.setting=value, got {item!r}")
        if path in settings:
            raise ConvgymError(f"setting {path!r} is given twice")
        try:
            settings[path] = json.loads(value, parse_constant=str)
        except ValueError:
            settings[path] = value.strip()
    return list(settings.items())


def _value(text: str) -> Any:
    try:
        value = json.loads(text, parse_constant=str)
    except ValueError:
        return text
    return text if isinstance(value, (dict, list)) else value
