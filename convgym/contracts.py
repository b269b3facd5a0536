"""What convgym asks of other people's objects, checked before the first conversation is held."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, Protocol, TypeVar, get_args, get_type_hints

from convgym.errors import ConvgymError

T = TypeVar("T")


def described(thing: object) -> str:
    """Return ``thing`` and its type, short enough for an error message."""
    return f"{str(thing)[:60]!r} ({type(thing).__name__})"


def breaches(thing: object, protocol: type) -> list[str]:
    """Return what ``thing`` breaks of ``protocol``, each as the end of "... is none: it ...".

    Members that are missing come together; a method is also tried, without calling it, on the
    parameters that the protocol's method has. Names of parameters given by position are free.
    """
    members = dict(sorted(_members(protocol)))
    missing = [name for name in members if not _has(thing, name)]
    wrong = [f"lacks {', '.join(missing)}"] if missing else []
    for name, member in members.items():
        if name in missing:
            continue
        if isinstance(member, property) and inspect.isfunction(getattr(type(thing), name, None)):
            wrong.append(f"has a method {name}, where a value is read: write @property above it")
        if inspect.isfunction(member):
            method = getattr(thing, name)
            if not callable(method):
                wrong.append(f"has {name} = {described(method)}, where a method is needed")
            elif not _takes(method, member):
                wanted = re.sub(r"^\(self(, )?", "(", _signature(member))
                wrong.append(f"has {name}{_signature(method)}, where {name}{wanted} is called")
    return wrong


def require(thing: object, protocol: type, what: str) -> None:
    """Raise ConvgymError, naming every breach, unless ``thing`` keeps to ``protocol``.

    ``what`` says who it is and what it should be: "seller 'x' is no seller".
    """
    wrong = breaches(thing, protocol)
    if wrong:
        raise ConvgymError(f"{what}: it {'; it '.join(wrong)}")


def call(factory: Callable[..., T], options: Mapping[str, Any], what: str) -> T:
    """Return ``factory(**options)``.

    Raises:
        ConvgymError: "cannot make ``what``" if the factory does not take these options. What goes
            wrong inside the factory is its own, and keeps its traceback.
    """
    try:
        signature = inspect.signature(factory)
    except ValueError:  # some builtins have none
        return factory(**options)
    try:
        signature.bind(**options)
    except TypeError as error:
        raise ConvgymError(f"cannot make {what}{_signature(factory)}: {error}") from None
    for name, value in options.items():
        parameter = signature.parameters.get(name)
        if isinstance(value, str) and parameter and not takes_text(factory, parameter):
            raise ConvgymError(
                f"cannot make {what}: {name!r} is a class or a function, which no text can name,"
                f" got {described(value)}"
            )
    return factory(**options)


def made_from(factory: Callable[..., Any]) -> Any:
    """Return what a partial is of; anything else as it is."""
    return factory.func if isinstance(factory, partial) else factory


def takes_text(factory: Callable[..., object], parameter: inspect.Parameter) -> bool:
    """Return whether a text may stand for a parameter: not for a class or a function.

    It is one by its default, unless its type admits a text beside.
    """
    if parameter.default is parameter.empty or not callable(parameter.default):
        return True
    try:
        made = made_from(factory)
        owner = made.__init__ if inspect.isclass(made) else made
        hint = get_type_hints(owner).get(parameter.name)
    except Exception:  # of what somebody else wrote, or imports for type checkers alone
        return True
    return hint in (None, Any, object) or str in get_args(hint)


def takes(factory: Callable[..., object], parameter: str) -> bool:
    """Return whether ``factory`` has a parameter of this name, or takes any."""
    try:
        parameters = inspect.signature(factory).parameters
    except ValueError:
        return False
    return parameter in parameters or any(
        each.kind is each.VAR_KEYWORD for each in parameters.values()
    )


def _members(protocol: type) -> Iterator[tuple[str, object]]:
    for cls in protocol.__mro__:
        if cls in (object, Protocol) or cls.__name__ == "Generic":
            continue
        for name in {**vars(cls), **inspect.get_annotations(cls)}:
            if not name.startswith("_"):
                yield name, vars(cls).get(name)


def _has(thing: object, member: str) -> bool:
    # The class first: before the first reset a property may not be readable on the object.
    return hasattr(type(thing), member) or hasattr(thing, member)


def _takes(method: Callable[..., object], pattern: Callable[..., object]) -> bool:
    """Return whether ``method``, bound, can be called as ``pattern``, a function with a self."""
    parameters = list(inspect.signature(pattern).parameters.values())[1:]
    by_name = [each.name for each in parameters if each.kind is each.KEYWORD_ONLY]
    try:
        inspect.signature(method).bind(
            *(None for each in parameters if each.kind is each.POSITIONAL_OR_KEYWORD),
            **dict.fromkeys(by_name),
        )
    except TypeError:
        return False
    except ValueError:  # no signature to be had
        return True
    return True


def _signature(function: Callable[..., object]) -> str:
    """Return the parameters without their types, which are long and say nothing here."""
    signature = inspect.signature(function)
    return str(
        signature.replace(
            parameters=[
                each.replace(annotation=each.empty) for each in signature.parameters.values()
            ],
            return_annotation=signature.empty,
        )
    )
