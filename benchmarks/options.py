"""Options by name from the command line: ``name=value``, as often as wanted."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from convgym.errors import ConvgymError
from convgym.secrets import check_option


def read_options(items: Iterable[str]) -> dict[str, Any]:
    """Return options by name.

    Values are read as JSON where they are numbers, true, false, null or a text in quotes, and else
    taken as text. A name with a dot is an option of an option: ``budget.requests=100``.

    Raises:
        ConvgymError: for what is not ``name=value``, a name given twice, and a secret
            (``convgym.secrets``), which does not belong on a command line nor into the files of a
            run.
    """
    options: dict[str, Any] = {}
    for item in items:
        name, equals, value = item.partition("=")
        *outer, last = path = name.strip().split(".")
        if not equals or not all(part.isidentifier() for part in path):
            # Only the name is shown: what follows it may be a key.
            shown = repr(f"{name}=..." if name.strip() and equals else item)
            raise ConvgymError(f"expected an option as name=value, got {shown}")
        given = _value(value.strip())
        for part in path:
            check_option(part, given if part == last else None)
        within = options
        for part in outer:
            within = within.setdefault(part, {})
            if not isinstance(within, dict):
                raise ConvgymError(f"option {part!r} is given as a value and with parts: drop one")
        if last in within:
            raise ConvgymError(f"option {name!r} is given twice")
        within[last] = given
    return options


def _value(text: str) -> Any:
    try:
        value = json.loads(text, parse_constant=str)
    except ValueError:
        return text
    return text if isinstance(value, (dict, list)) else value
