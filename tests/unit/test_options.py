"""What can be set of a dataclass or a callable, and what is said of it."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from functools import partial

import pytest

from convgym.agents.registry import AGENTS, start_config
from convgym.options import Option, parameters_of, settings_of


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
        Option("depth", "float", "Infinity", "In metres, down."),
        Option("name", "str", "x", ""),
        Option("inner", "Inner", "", "How deep it is."),
        Option("inner.depth", "float", "0.5", "In metres, down."),
        Option("sizes", "tuple[int, ...]", "[1, 2]", "Of all."),
    ]


def test_without_source_there_are_no_texts() -> None:
    made = dataclasses.make_dataclass("Made", [("size", int, 3)])
    assert list(settings_of(made())) == [Option("size", "int", "3", "")]


def test_parameters() -> None:
    def factory(shop: str, *rest: int, depth: float = 0.5, kind: type = int, **more: str) -> None:
        """Take all kinds."""

    assert parameters_of(partial(factory, "tea")) == [
        Option("depth", "float", "0.5", ""),
        Option("kind", "type", "int", ""),
    ]
    assert parameters_of(factory)[0] == Option("shop", "str", "", "")
    assert parameters_of(dict) == []


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
