"""What can be set: fields of a dataclass of settings, parameters of a class or function."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import json
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any


@dataclass(frozen=True, slots=True)
class Option:
    """One thing that can be set."""

    name: str
    """With dots where it is a setting of a setting: ``improvement.epochs``."""
    kind: str
    """Its type, as the source has it."""
    default: str
    """As it would be given on a command line; empty where there is none."""
    text: str
    """What its docstring says, on one line; empty where it has none."""


def settings_of(config: object, within: str = "") -> Iterator[Option]:
    """Yield the fields of an instance of a dataclass, and theirs in turn.

    Texts are the string literals below the fields, as documentation tools read them. Where there
    is no source there are no texts.

    Args:
        config: of settings, none of which need be a default.
        within: what comes before the fields' names.
    """
    texts = _field_texts(type(config))
    for each in dataclasses.fields(config):  # type: ignore[arg-type]
        if not each.init:
            continue
        value = getattr(config, each.name)
        name = within + each.name
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            kind = type(value).__name__
            yield Option(name, kind, "", texts.get(each.name, "") or _summary(type(value)))
            yield from settings_of(value, f"{name}.")
        else:
            yield Option(name, _shown(each.type), _given(value), texts.get(each.name, ""))


def parameters_of(factory: Callable[..., Any]) -> list[Option]:
    """Return what a class or function takes by name; none where its signature cannot be read."""
    try:
        parameters = inspect.signature(factory).parameters.values()
    except (TypeError, ValueError):
        return []
    by_name = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return [
        Option(each.name, _shown(each.annotation), _given(each.default), "")
        for each in parameters
        if each.kind in by_name
    ]


def _field_texts(config_class: type) -> dict[str, str]:
    texts: dict[str, str] = {}
    for ancestor in reversed(config_class.__mro__[:-1]):
        try:
            tree = ast.parse(textwrap.dedent(inspect.getsource(ancestor)))
        except (OSError, TypeError, SyntaxError):  # made by a program, in a session or in C
            continue
        body = tree.body[0].body if isinstance(tree.body[0], ast.ClassDef) else []
        for field, below in pairwise(body):
            match field, below:
                case (
                    ast.AnnAssign(target=ast.Name(id=name)),
                    ast.Expr(value=ast.Constant(value=str(text))),
                ):
                    texts[name] = " ".join(text.split())
    return texts


def _summary(config_class: type) -> str:
    return (inspect.getdoc(config_class) or "").partition("\n")[0]


def _shown(annotation: object) -> str:
    if annotation is inspect.Parameter.empty:
        return ""
    return annotation if isinstance(annotation, str) else getattr(annotation, "__name__", "")


def _given(value: object) -> str:
    if value is inspect.Parameter.empty:
        return ""
    if isinstance(value, str):
        return value
    try:
        return json.dumps(value)
    except (TypeError, ValueError):
        return getattr(value, "__name__", None) or repr(value)
