"""What is asked of other people's objects, and how a breach is told."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import pytest

from convgym.contracts import breaches, call, require, takes
from convgym.errors import ConvgymError


class Greeter(Protocol):
    @property
    def name(self) -> str: ...

    def greet(self, guest: str, *, loud: bool = False) -> str: ...

    def leave(self) -> None: ...


class Good:
    name = "good"

    def greet(self, whoever: str, *, loud: bool = False, more: int = 0) -> str:
        return whoever

    def leave(self) -> None: ...


class Quiet(Good):
    def greet(self, guest: str) -> str:  # type: ignore[override]
        return guest


class Frozen(Good):
    leave = 3  # type: ignore[assignment]


class Late(Good):
    @property
    def name(self) -> str:  # type: ignore[override]
        raise AttributeError("not yet")


@pytest.mark.parametrize(
    ("thing", "expected"),
    [
        (Good(), []),
        (Late(), []),
        (object(), ["lacks greet, leave, name"]),
        (Quiet(), ["has greet(guest), where greet(guest, *, loud=False) is called"]),
        (Frozen(), ["has leave = '3' (int), where a method is needed"]),
    ],
)
def test_breaches(thing: object, expected: list[str]) -> None:
    assert breaches(thing, Greeter) == expected


def test_every_breach_is_named_in_one_line() -> None:
    class Bad:
        def greet(self) -> None: ...

    with pytest.raises(ConvgymError) as caught:
        require(Bad(), Greeter, "greeter 'bad' is none")
    assert str(caught.value) == (
        "greeter 'bad' is none: it lacks leave, name; it has greet(), where"
        " greet(guest, *, loud=False) is called"
    )


def test_inherited_protocols_count() -> None:
    class Host(Greeter, Protocol):
        table: int

    assert breaches(Good(), Host) == ["lacks table"]


def test_a_factory_is_called_with_options_it_takes() -> None:
    def make(colour: str = "red") -> str:
        if colour == "none":
            raise TypeError("my own mistake")
        return colour

    assert call(make, {"colour": "blue"}, "paint") == "blue"
    with pytest.raises(ConvgymError, match=r"cannot make paint\(colour='red'\): .*'size'"):
        call(make, {"size": 3}, "paint")
    with pytest.raises(TypeError, match="my own mistake"):
        call(make, {"colour": "none"}, "paint")
    assert call(dict, {"a": 1}, "table") == {"a": 1}  # has no signature


def test_no_text_stands_for_a_class_or_a_function() -> None:
    def mix(name: str, tool: Callable[[int], int] = abs) -> object:
        return tool(-1)

    def either(tool: str | Callable[[int], int] = abs) -> object:
        return tool

    assert call(either, {"tool": "abs"}, "paint") == "abs"
    assert call(mix, {"name": "a", "tool": lambda x: x}, "paint") == -1
    with pytest.raises(ConvgymError, match=r"cannot make paint: 'tool' is a class or a function"):
        call(mix, {"name": "a", "tool": "abs"}, "paint")


@pytest.mark.parametrize(
    ("factory", "expected"),
    [(lambda colour: 0, True), (lambda **any: 0, True), (lambda size: 0, False), (dict, False)],
)
def test_what_a_factory_takes(factory: Callable[..., Any], expected: bool) -> None:
    assert takes(factory, "colour") is expected
