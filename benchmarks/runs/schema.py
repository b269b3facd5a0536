"""What the files of a results folder must look like to be read: everything else is damage."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal, NotRequired

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    with_config,
)
from typing_extensions import TypedDict

FORMAT = 1
"""Version of the results folder's layout."""

TRAINING_SEEDS = 10_000
"""Fewer than these are in one run."""

# Fields that are not named here are kept as they are: later versions may have more.
_OPEN = ConfigDict(extra="allow", strict=True, allow_inf_nan=False)


def _readable(name: str) -> str:
    if not name.isprintable():
        raise ValueError("expected a name that can be printed")
    return name


def _time(stamp: str) -> str:
    datetime.fromisoformat(stamp)
    return stamp


def _number(value: Any) -> Any:
    return float(value) if type(value) is int and abs(value) < 2**53 else value


Name = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_readable)]
Time = Annotated[str, AfterValidator(_time)]
Count = Annotated[int, Field(ge=0, lt=2**63)]
Number = Annotated[float, BeforeValidator(_number)]
Positive = Annotated[float, BeforeValidator(_number), Field(ge=0, lt=2**63)]
Share = Annotated[float, BeforeValidator(_number), Field(ge=0, le=1)]
Outcomes = Annotated[str, Field(pattern="^[pwtxf]*$")]
Seeds = Annotated[int, Field(ge=1, lt=TRAINING_SEEDS)]


@with_config(_OPEN)
class _Suite(TypedDict):
    name: Name
    description: str
    sellers: list[Name]
    agents: list[Name]
    evaluation_episodes: Count
    training_seeds: Seeds
    environment: dict[str, Any]
    # Runs of earlier versions lack the rest.
    evaluation: NotRequired[dict[str, Any]]
    seeds: NotRequired[dict[str, Seeds]]


@with_config(_OPEN)
class _Commit(TypedDict):
    id: str
    dirty: bool | None


@with_config(_OPEN)
class _Versions(TypedDict):
    python: str


@with_config(_OPEN)
class _Run(TypedDict):
    suite: _Suite
    seed: Count
    agents: dict[str, Any]
    convgym: str
    commit: _Commit
    versions: _Versions
    starts: NotRequired[dict[str, Name]]  # runs of earlier versions lack it


@with_config(_OPEN)
class _Machine(TypedDict):
    platform: str
    processor: str
    cores: int | None
    memory_gb: Number | None


@with_config(_OPEN)
class _Started(TypedDict):
    time: Time
    machine: _Machine


@with_config(_OPEN)
class _Manifest(TypedDict):
    format: Literal[1]
    run: _Run
    starts: Annotated[list[_Started], Field(min_length=1)]
    finished: Time | None


@with_config(ConfigDict(extra="forbid", strict=True, allow_inf_nan=False))
class _Conduct(TypedDict):
    false_claims: Positive
    pushes: Positive
    repetitions: Positive
    words: Positive
    discount: Share | None
    margin: Number | None


@with_config(_OPEN)
class _Result(TypedDict):
    kind: Literal["seller", "start", "agent"]
    name: Name
    seed: Count
    outcomes: Outcomes
    turns: Positive | None
    conversations: Count
    deployments: Count
    train_seconds: Positive
    evaluation_seconds: Positive
    # Rows of earlier versions lack the rest.
    acceptance: NotRequired[Share | None]
    acceptance95: NotRequired[Annotated[list[Share], Field(min_length=2, max_length=2)] | None]
    training_excluded: NotRequired[Count]
    start: NotRequired[Name | None]
    training_turns: NotRequired[Count]
    branches: NotRequired[Count]
    notes: NotRequired[list[str]]
    cpu_seconds: NotRequired[Positive | None]
    colder: NotRequired[Outcomes | None]
    conduct: NotRequired[_Conduct]
    device: NotRequired[str]
    dtype: NotRequired[str]


@with_config(_OPEN)
class _Point(TypedDict):
    name: Name
    seed: Count
    conversations: Positive
    conversion: Share | None


MANIFEST = TypeAdapter(_Manifest)
RESULT = TypeAdapter(_Result)
POINT = TypeAdapter(_Point)


def explain(error: ValidationError) -> str:
    """Return what is wrong, at the first place where something is."""
    first = error.errors()[0]
    place = ".".join(map(str, first["loc"]))
    if first["type"] == "missing":
        return f"it has no {place}"
    return f"{place or 'the whole'}: {first['msg']}"
