"""Settings by name: a frozen dataclass of defaults, and what a user says instead."""

from __future__ import annotations

import dataclasses
import json
import types
import typing
from collections.abc import Mapping
from typing import Any, TypeVar

from convgym.errors import ConvgymError, unknown

C = TypeVar("C")


def defaults(config_class: type[C], what: str) -> C:
    """Return ``config_class()``; ConvgymError names the fields that have no default."""
    missing = [
        field.name
        for field in dataclasses.fields(config_class)  # type: ignore[arg-type]
        if field.init
        and field.default is dataclasses.MISSING
        and field.default_factory is dataclasses.MISSING
    ]
    if missing:
        raise ConvgymError(
            f"every setting of {what} needs a default: {config_class.__name__} has none for"
            f" {', '.join(missing)}"
        )
    return config_class()


def configured(config: C, overrides: Mapping[str, Any], what: str) -> C:
    """Return the dataclass ``config`` with other values in some of its fields.

    Settings within settings may be given as a mapping, ``{"gate": {"held_out": 0}}``: what it does
    not name stays. An ``improvement`` may also be given by its name.

    Raises:
        ConvgymError: for a field that there is not, or a value that its type does not allow.
    """
    known = [field.name for field in dataclasses.fields(config) if field.init]  # type: ignore[arg-type]
    for name in overrides:
        if name not in known:
            raise unknown(f"setting of {what}", name, known)
    hints = _hints(type(config))
    converted = {
        name: _converted(value, getattr(config, name), hints.get(name, Any), name, what)
        for name, value in overrides.items()
    }
    return dataclasses.replace(config, **converted)  # type: ignore[type-var]


def _converted(value: Any, default: Any, hint: Any, name: str, what: str) -> Any:
    if isinstance(value, Mapping) and not (name == "improvement" and "name" in value):
        within = f"{name!r} of {what}"
        if dataclasses.is_dataclass(default) and not isinstance(default, type):
            return configured(default, value, within)
        for option in _options(hint):
            if dataclasses.is_dataclass(option) and isinstance(option, type):
                return configured(defaults(option, within), value, within)
    if name == "improvement" and value is not None:
        return _improvement(value)
    return _checked(value, hint, name, what)


def _improvement(value: Any) -> object:
    from convgym.agents.improvement.registry import as_improvement

    return as_improvement(value)


def _checked(value: Any, hint: Any, name: str, what: str) -> Any:
    """Return ``value`` as its type has it: lists as tuples, integers as floats."""
    from pydantic import TypeAdapter, ValidationError
    from pydantic.errors import PydanticUserError
    from pydantic_core import SchemaError

    if dataclasses.is_dataclass(value):
        return value
    try:
        of_this_type: TypeAdapter[Any] = TypeAdapter(hint)
    except (PydanticUserError, SchemaError, TypeError):
        return value  # a type that says nothing of plain values, such as a protocol
    try:
        plain = json.dumps(value)
    except (TypeError, ValueError):  # an object, which has no other way to be given
        plain = None
    try:
        if plain is None:
            return of_this_type.validate_python(value)
        # As JSON: lists become tuples, but neither texts nor true and false become numbers.
        return of_this_type.validate_json(plain, strict=True)
    except ValidationError as error:
        reasons = "; ".join(dict.fromkeys(_reason(each["msg"]) for each in error.errors()))
        raise ConvgymError(f"setting {name!r} of {what} {reasons}, got {value!r}") from None


def _reason(message: str) -> str:
    words = message.replace("Input should", "should", 1)
    return words.replace("be an object", "be a mapping of settings")  # JSON's word for it


def _hints(config_class: type) -> dict[str, Any]:
    try:
        return typing.get_type_hints(config_class)
    except (NameError, TypeError):  # names that were imported for type checkers alone
        return {}


def _options(hint: Any) -> tuple[Any, ...]:
    """Return the members of a union, or the type itself."""
    is_union = typing.get_origin(hint) in (typing.Union, types.UnionType)
    return typing.get_args(hint) if is_union else (hint,)
