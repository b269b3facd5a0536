"""Settings by name: nested, of the right type, and never a misspelt one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol

import pytest

from convgym.agents.settings import configured, defaults
from convgym.errors import ConvgymError

if TYPE_CHECKING:
    from decimal import Decimal as Unknowable


class Judge(Protocol):
    def judge(self) -> float: ...


@dataclass(frozen=True, slots=True)
class Inner:
    rate: float = 0.1
    folds: int = 1

    def __post_init__(self) -> None:
        if self.folds < 1:
            raise ConvgymError(f"folds must be at least 1, got {self.folds}")


@dataclass(frozen=True, slots=True)
class Outer:
    rounds: int = 2
    exploration: tuple[float, ...] = (1.0,)
    form: Literal["a", "b"] = "a"
    inner: Inner = field(default_factory=lambda: Inner(rate=0.5))
    adapter: Inner | None = None
    judge: Judge | None = None
    hook: Callable[[int], None] | None = None
    anything: Any = None


@dataclass(frozen=True)
class Late:
    thing: Unknowable | None = None
    rounds: int = 1


def changed(**overrides: Any) -> Outer:
    return configured(Outer(), overrides, "agent 'x'")


def test_values_have_the_type_of_their_field() -> None:
    assert changed(rounds=3).rounds == 3
    assert changed(exploration=[1, 2]).exploration == (1.0, 2.0)
    assert changed(anything={"a": 1}).anything == {"a": 1}
    judge, hook = object(), print
    assert changed(judge=judge, hook=hook).judge is judge
    assert changed() == Outer()


def test_what_a_mapping_does_not_name_stays() -> None:
    assert changed(inner={"folds": 3}).inner == Inner(rate=0.5, folds=3)
    assert changed(inner=Inner()).inner == Inner()
    assert changed(adapter={"rate": 2}).adapter == Inner(rate=2.0)
    assert changed(adapter=None).adapter is None


def test_types_that_cannot_be_looked_up_are_not_checked() -> None:
    assert configured(Late(), {"rounds": "many", "thing": 3}, "it").thing == 3


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        ({"round": 3}, r"unknown setting of agent 'x' 'round'; known: .*mean 'rounds'"),
        ({"rounds": "three"}, r"setting 'rounds' of agent 'x' should be a valid integer.*'three'"),
        ({"rounds": "3"}, r"'rounds' of agent 'x' should be a valid integer, got '3'"),
        ({"rounds": True}, r"'rounds' of agent 'x' should be a valid integer, got True"),
        ({"exploration": [1, "2"]}, r"'exploration' of agent 'x' should be a valid number, got"),
        ({"rounds": 2.5}, r"'rounds' of agent 'x' should be .*integer.*got 2.5"),
        ({"rounds": {"a": 1}}, r"setting 'rounds' of agent 'x' should be a valid integer"),
        ({"form": "c"}, r"setting 'form' of agent 'x' should be 'a' or 'b', got 'c'"),
        ({"inner": {"fold": 3}}, r"unknown setting of 'inner' of agent 'x' 'fold'.*mean 'folds'"),
        ({"inner": {"folds": "?"}}, r"setting 'folds' of 'inner' of agent 'x' should be"),
        ({"inner": {"folds": 0}}, "folds must be at least 1, got 0"),
        ({"inner": 3}, r"setting 'inner' of agent 'x' should be a mapping of settings, got 3"),
        ({"adapter": {"fold": 3}}, r"unknown setting of 'adapter' of agent 'x' 'fold'"),
    ],
)
def test_mistakes(overrides: dict[str, Any], told: str) -> None:
    with pytest.raises(ConvgymError, match=told) as caught:
        changed(**overrides)
    assert "\n" not in str(caught.value)


def test_every_setting_needs_a_default() -> None:
    @dataclass
    class Demanding:
        size: int
        width: int
        rate: float = 0.1

    with pytest.raises(ConvgymError, match=r"setting of it needs a default: .* for size, width"):
        defaults(Demanding, "it")
    assert defaults(Inner, "it") == Inner()
