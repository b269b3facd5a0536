"""What can be set of a dataclass or a callable, and what is said of it."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from enum import Enum
from functools import partial
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from convgym.agents import make_agent
from convgym.agents.registry import AGENTS, start_config
from convgym.benchmarks.cli.options import own_settings
from convgym.options import Option, arguments, parameters_of, settings_of, takes_fields_of


@dataclass(frozen=True)
class Inner:
    """How deep it is."""

    depth: float = 0.5
    """In metres,
    down."""


@dataclass(frozen=True)
class Outer(Inner):
    name: str = "x"
    inner: Inner = field(default_factory=Inner)
    sizes: tuple[int, ...] = (1, 2)
    """Of all."""
    made: int = field(default=0, init=False)


def test_fields_with_their_texts() -> None:
    assert list(settings_of(Outer(depth=float("inf")))) == [
        Option("depth", "float", float("inf"), "In metres, down."),
        Option("name", "str", "x", ""),
        Option("inner", "Inner", None, "How deep it is.", has_default=False),
        Option("inner.depth", "float", 0.5, "In metres, down."),
        Option("sizes", "tuple[int, ...]", [1, 2], "Of all."),
    ]


def test_without_source_there_are_no_texts() -> None:
    made = dataclasses.make_dataclass("Made", [("size", int, 3)])
    assert list(settings_of(made())) == [Option("size", "int", 3, "")]


def test_types_are_those_of_the_source_with_or_without_future_annotations() -> None:
    kinds: list[Any] = [
        Literal["a.b", "b"],
        Path | None,
        dict[str, int],
        tuple[str, ...],
        int,
        None,
    ]
    made = dataclasses.make_dataclass("Made", [(f"f{k}", kind) for k, kind in enumerate(kinds)])
    assert [option.kind for option in settings_of(made)] == [
        "Literal['a.b', 'b']",
        "Path | None",
        "dict[str, int]",
        "tuple[str, ...]",
        "int",
        "None",
    ]
    assert not any(option.has_default for option in settings_of(made))


class Colour(Enum):
    RED = "red"


@dataclass
class Nested:
    inner: Inner | None = None
    """If any."""
    colour: Colour = Colour.RED
    path: Path = Path("a b")


def test_defaults_are_given_as_a_command_line_has_them() -> None:
    inner, colour, path = settings_of(Nested)
    assert inner.text == "If any. Of Inner: depth."
    assert (inner.given, colour.given, path.given) == ("null", "red", "a b")


@example("NaN")
@given(st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.lists(st.text()))
def test_what_is_shown_can_be_given(value: Any) -> None:
    text = Option("size", "", *_shown(value)).given
    again = own_settings([f"size={text}"])["size"]
    assert json.dumps(again) == json.dumps(value)  # NaN is itself there


def _shown(value: Any) -> tuple[Any]:
    made = dataclasses.make_dataclass("Made", [("size", object)])
    return (next(settings_of(made(value))).default,)


def test_parameters() -> None:
    def factory(shop: str, *rest: int, depth: float = 0.5, kind: type = int, **more: str) -> None:
        """Take all kinds."""

    assert parameters_of(partial(factory, "tea")) == [Option("depth", "float", 0.5)]
    assert parameters_of(factory)[0] == Option("shop", "str", has_default=False)
    assert parameters_of(dict) == []


class Base:
    """Sell.

    Args:
        depth: in metres,
            down.
        **more: whatever.

    Raises:
        ValueError: never.
    """

    def __init__(self, depth: float = 1.0, width: float = 2.0, **more: str) -> None:
        pass


class Heir(Base):
    """Sell more.

    Args:
        width: in metres.
    """


def test_texts_of_parameters() -> None:
    depth, width = parameters_of(Heir)
    assert (depth.text, width.text) == ("in metres, down.", "in metres.")
    assert arguments(Heir)[0] == "Sell more."
    assert arguments(Base)[0] == (
        "Sell.\n\nArgs:\n    **more: whatever.\n\nRaises:\n    ValueError: never."
    )


def test_options_that_are_fields_of_settings() -> None:
    @takes_fields_of(Outer)
    def factory(name: str, **options: Any) -> None:
        pass

    told = {option.name: option for option in parameters_of(factory)}
    assert [*told] == ["name", "depth", "inner", "inner.depth", "sizes"]
    assert not told["name"].has_default


@pytest.mark.parametrize("name", AGENTS.shipped)
def test_every_setting_of_every_agent(name: str) -> None:
    def leaves(settings: object, within: str = "") -> list[str]:
        if not isinstance(settings, dict):
            return [within]
        return [x for key, each in settings.items() for x in leaves(each, f"{within}.{key}")]

    config = start_config(name)
    told = {option.name: option for option in settings_of(config)}
    assert {f".{name}" for name in told} >= {*leaves(dataclasses.asdict(config))}
    assert told["policy.temperature"].text


@pytest.mark.parametrize("name", ["online-ppo", "bc", "iterative-grpo"])
def test_all_that_is_shown_of_an_agent_makes_it_what_it_is(name: str) -> None:
    shown = [o for o in settings_of(start_config(name)) if o.has_default]
    settings = own_settings([f"{option.name}={option.given}" for option in shown])
    assert make_agent(name, **settings).config == start_config(name)
