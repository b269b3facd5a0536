"""What can be set: fields of a dataclass of settings, parameters of a class or function."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import json
import re
import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from itertools import pairwise, takewhile
from pathlib import Path
from typing import Any, TypeVar, get_args, get_type_hints

from convgym.contracts import made_from, takes_text

F = TypeVar("F", bound=Callable[..., Any])

_FIELDS = "_convgym_takes_fields_of"
_MODULES = re.compile(r"""('[^']*'|"[^"]*")|\b(?:[A-Za-z_]\w*\.)+""")
"""Texts, which stay, and what stands before the names of types."""


@dataclass(frozen=True, slots=True)
class Option:
    """One thing that can be set."""

    name: str
    """With dots where it is a setting of a setting: ``improvement.epochs``."""
    kind: str
    """Its type, as the source has it."""
    default: Any = None
    """Of types that JSON has, numbers that are not finite among them; None where there is none."""
    text: str = ""
    """What its docstring says, on one line; empty where it has none."""
    has_default: bool = True
    """False of what must be given, and of settings whose parts have theirs."""

    @property
    def given(self) -> str:
        """The default as it would be given on a command line; empty where there is none."""
        return _as_given(self.default) if self.has_default else ""


def settings_of(config: object, within: str = "") -> Iterator[Option]:
    """Yield the fields of a dataclass, and theirs in turn.

    Texts are the string literals below the fields, as documentation tools read them. Where there
    is no source there are no texts.

    Args:
        config: an instance, whose values need not be defaults, or the class.
        within: what comes before the fields' names.
    """
    config_class = config if isinstance(config, type) else type(config)
    texts, hints = _field_texts(config_class), _hints(config_class)
    for each in dataclasses.fields(config_class):
        if not each.init:
            continue
        value = _value(each) if config is config_class else getattr(config, each.name)
        name, text = within + each.name, texts.get(each.name, "")
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            kind = type(value).__name__
            yield Option(name, kind, None, text or _summary(type(value)), has_default=False)
            yield from settings_of(value, f"{name}.")
        else:
            if value is None:
                text = " ".join(filter(None, [text, *_parts(hints.get(each.name))]))
            has_default = value is not dataclasses.MISSING
            yield Option(name, shown_type(each.type), _json(value), text, has_default)


def parameters_of(factory: Callable[..., Any]) -> list[Option]:
    """Return what a class or function takes by name; none where its signature cannot be read.

    Texts are those of the section ``Args:`` of its docstring. What no text can stand for is left
    out.
    """
    try:
        parameters = inspect.signature(factory).parameters.values()
    except (TypeError, ValueError):
        return []
    texts = arguments(factory)[1]
    by_name = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    options = [
        Option(
            each.name,
            "" if each.annotation is each.empty else shown_type(each.annotation),
            None if each.default is each.empty else _json(each.default),
            texts.get(each.name, ""),
            has_default=each.default is not each.empty,
        )
        for each in parameters
        if each.kind in by_name and takes_text(factory, each)
    ]
    fields_of = getattr(made_from(factory), _FIELDS, None)
    if fields_of is not None:
        known = inspect.signature(made_from(factory)).parameters
        options += [each for each in settings_of(fields_of) if each.name not in known]
    return options


def takes_fields_of(config_class: type) -> Callable[[F], F]:
    """Say of a function that its ``**options`` are the fields of a dataclass."""

    def mark(function: F) -> F:
        setattr(function, _FIELDS, config_class)
        return function

    return mark


def arguments(factory: Callable[..., Any]) -> tuple[str, dict[str, str]]:
    """Return a docstring without the texts of its ``Args:``, and these by name.

    Those of starred ones stay. Of a class the texts are its ancestors' too.
    """
    thing = made_from(factory)
    texts: dict[str, str] = {}
    for ancestor in reversed(thing.__mro__[:-1]) if isinstance(thing, type) else ():
        texts |= _split(inspect.cleandoc(ancestor.__doc__ or ""))[1]
    rest, own = _split(inspect.getdoc(thing) or "")
    return rest, texts | own


def _split(doc: str) -> tuple[str, dict[str, str]]:
    before, _, after = doc.partition("\nArgs:\n")
    lines = after.splitlines()
    body = [*takewhile(lambda line: not line or line[0].isspace(), lines)]
    texts, kept = {}, []
    for entry in re.split(r"(?m)^(?=\S)", textwrap.dedent("\n".join(body))):
        name, colon, text = entry.partition(":")
        if colon and name.isidentifier():
            texts[name] = " ".join(text.split())
        elif entry.strip():
            kept.append(textwrap.indent(entry.rstrip(), "    "))
    starred = "\n".join(["Args:", *kept]) if kept else ""
    parts = [before.rstrip(), starred, "\n".join(lines[len(body) :])]
    return "\n\n".join(filter(None, parts)), texts


def defaults_in(options: Iterable[Option]) -> dict[str, Any]:
    """Return the defaults of those that have any, by name."""
    return {option.name: option.default for option in options if option.has_default}


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


def _hints(config_class: type) -> Mapping[str, Any]:
    try:
        return get_type_hints(config_class)
    except Exception:  # of what somebody else wrote, or imports for type checkers alone
        return {}


def _parts(hint: object) -> Iterator[str]:
    """Yield what settings have that are None as long as nobody gives them."""
    for kind in get_args(hint):
        if isinstance(kind, type) and dataclasses.is_dataclass(kind):
            names = ", ".join(each.name for each in dataclasses.fields(kind) if each.init)
            yield f"Of {kind.__name__}: {names}."


def _value(field: dataclasses.Field[Any]) -> object:
    """Return the default of a field; MISSING where there is none."""
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return field.default


def _summary(config_class: type) -> str:
    return (inspect.getdoc(config_class) or "").partition("\n")[0]


def shown_type(annotation: object) -> str:
    """Return a type as a source would have it."""
    if isinstance(annotation, str):
        return annotation
    if isinstance(annotation, type) and not get_args(annotation):
        return annotation.__name__
    told = inspect.formatannotation(annotation)
    return _MODULES.sub(r"\1", told)


def _json(value: object) -> Any:
    """Return a default as one of the types that JSON has."""
    if value is dataclasses.MISSING:
        return None
    if isinstance(value, Enum):
        return _json(value.value)
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, type) or inspect.isroutine(value):
        return value.__name__
    if isinstance(value, tuple | list | frozenset | set):
        return [_json(each) for each in value]
    if isinstance(value, Mapping):
        return {str(key): _json(each) for key, each in value.items()}
    return value if isinstance(value, str | int | float | None) else repr(value)


def _as_given(value: object) -> str:
    if not isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    try:
        json.loads(value)
    except ValueError:
        bare = value and value == value.strip() and value.isprintable()
    else:
        bare = False
    return value if bare else json.dumps(value, ensure_ascii=False)
