"""Suites as TOML files; every field is described in docs/own_suite.md."""

from __future__ import annotations

import fnmatch
import json
import math
import tomllib
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any, cast

import tomli_w
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    StrictInt,
    ValidationError,
    ValidationInfo,
    field_validator,
)
from pydantic_core import ErrorDetails

from convgym.agents.registry import AGENTS, start_config
from convgym.benchmarks.runs.schema import TRAINING_SEEDS
from convgym.benchmarks.runs.suites import Suite, agent_of
from convgym.customers import CUSTOMERS
from convgym.datafiles import check_new_file, read_whole, write_atomically
from convgym.envs.scenario import Scenario
from convgym.errors import ConvgymError, unknown
from convgym.options import defaults_in, parameters_of, settings_of
from convgym.registry import Registry
from convgym.sellers import SELLERS

_MOST = 10_000_000
"""Conversations, of training and of evaluation: more are a slip."""


def read_suite(path: Path) -> Suite:
    """Return the suite that a TOML file describes.

    Raises:
        ConvgymError: if the file cannot be read, or naming all that is wrong in it.
    """
    try:
        fields = tomllib.loads(read_whole(path).decode())
    except OSError as error:
        raise ConvgymError(f"cannot read the suite {path}: {error.strerror}") from None
    except (
        ValueError,
        RecursionError,
    ) as error:  # no text, or no TOML
        raise ConvgymError(f"the suite {path} is no TOML: {error}") from None
    suite = _checked(fields, path)
    return Suite(
        suite.name or path.stem,
        suite.description,
        sellers=tuple(suite.sellers),
        agents=tuple(suite.agents),
        conversations=suite.conversations,
        evaluation_episodes=suite.evaluation_episodes,
        training_seeds=suite.training_seeds,
        environment=suite.environment,
        evaluation=suite.evaluation,
        overrides={
            name: settings
            for name, settings in [*suite.sellers.items(), *suite.agents.items()]
            if settings
        },
        log=suite.log,
        seeds=suite.seeds,
        keep=tuple(suite.keep),
        colder=suite.colder,
    )


def _checked(fields: Mapping[str, Any], path: Path) -> SuiteFile:
    try:
        return SuiteFile.model_validate(fields)
    except ValidationError as error:
        problems = [_problem(each) for each in error.errors()]
        raise ConvgymError(f"the suite {path}: {'; '.join(problems)}") from None


def write_suite(suite: Suite, path: Path) -> None:
    """Write a suite as a file that ``read_suite`` reads, for others to start from.

    The file has no ``name``: the suite goes by the file's.

    Raises:
        ConvgymError: if there is something at ``path``, it cannot be written, TOML does not know a
            value among the suite's settings, or ``read_suite`` would refuse the file.
    """
    check_new_file(path)
    text = suite_text(suite)
    _checked(tomllib.loads(text), path)  # names on a command line, say, are checked by nobody else
    write_atomically(path, text)


def suite_text(suite: Suite) -> str:
    """Return a suite as a file would have it; ConvgymError for what TOML does not know.

    Nulls are such a thing, and are left out where it is the same without them.
    """
    settings: dict[str, Mapping[str, Any]] = {}
    for seller in suite.sellers:
        given = suite.overrides.get(seller, {})
        settings[seller] = _sayable(given, _of_factory(SELLERS, seller), f"{seller}.")
    for agent in suite.agents:
        given = suite.overrides.get(agent, {})
        settings[agent] = _sayable(given, _of_agent(agent), f"{agent}.")
    of_environment = partial(_of_environment, suite.environment)
    written = {
        "description": suite.description,
        "sellers": _with_options(suite.sellers, settings),
        "agents": _with_options(suite.agents, settings),
        **{name: getattr(suite, name) for name in _AS_THEY_ARE},
        "environment": _sayable(suite.environment, of_environment, "environment."),
        "evaluation": _sayable(suite.evaluation, dict, "evaluation."),
        # Those that are there for agents of whom this is a selection go with them.
        "keep": [pattern for pattern in suite.keep if fnmatch.filter(suite.agents, pattern)],
    }
    defaults = {name: field.default for name, field in SuiteFile.model_fields.items()}
    fields = {name: value for name, value in written.items() if value and value != defaults[name]}
    texts = []
    for name, value in fields.items():
        try:
            texts.append(tomli_w.dumps({name: value}))
        except TypeError as error:
            raise ConvgymError(
                f"the suite {suite.name} fits no file, for its {name}: {error}"
            ) from None
    texts.sort(key=lambda text: text.startswith("["))  # what follows a table would be part of it
    return "".join(f"\n{text}" if text.startswith("[") else text for text in texts)


_AS_THEY_ARE = (
    "conversations",
    "evaluation_episodes",
    "training_seeds",
    "colder",
    "log",
    "seeds",
)
"""Fields that a file has as ``Suite`` has them."""


Defaults = Callable[[], Mapping[str, object]]


def _sayable(settings: Mapping[str, Any], defaults: Defaults, within: str) -> dict[str, Any]:
    """Return settings without what no file can say and is so by default: None, and infinities.

    Raises ConvgymError where it is not the default, naming the setting.
    """

    def cleared(value: Any, path: str) -> Any:
        if isinstance(value, Mapping):
            values = {key: cleared(each, f"{path}.{key}") for key, each in value.items()}
            return {key: each for key, each in values.items() if each is not None} or None
        if isinstance(value, list | tuple):
            return [told(each, f"{path}[{place}]") for place, each in enumerate(value)]
        return told(value, path)

    def told(value: Any, path: str) -> Any:
        if value is not None and not (isinstance(value, float) and not math.isfinite(value)):
            return value
        if defaults().get(path.removeprefix("."), ...) != value:
            raise ConvgymError(
                f"no suite's file can say {json.dumps(value)}, which {within}"
                f"{path.removeprefix('.')} has: leave it out, or give it on the command line that"
                " runs the file"
            )
        return None

    return cleared(settings, "") or {}


def _of_agent(name: str) -> Defaults:
    return lambda: defaults_in(settings_of(start_config(agent_of(name))))


def _of_factory(registry: Registry[Any], name: str) -> Defaults:
    return lambda: defaults_in(parameters_of(registry.resolve(name)))


def _of_environment(options: Mapping[str, Any]) -> Mapping[str, object]:
    own = defaults_in(settings_of(Scenario))
    customer = cast(str, Scenario.of(options).customer)  # of a suite, others are refused
    of_customer = _of_factory(CUSTOMERS, customer)()
    return own | {f"customer_options.{name}": value for name, value in of_customer.items()}


def _with_options(
    names: Sequence[str], overrides: Mapping[str, Mapping[str, Any]]
) -> list[str] | dict[str, Mapping[str, Any]]:
    """Return names as a list, or where any of them has settings, as tables."""
    tables = {name: overrides.get(name, {}) for name in names}
    return tables if any(tables.values()) else list(names)


def _tables(agents: object) -> object:
    """Return agents or sellers listed by name as tables of no settings."""
    are_names = isinstance(agents, list) and all(isinstance(name, str) for name in agents)
    return {name: {} for name in cast(list[str], agents)} if are_names else agents


def _environment(options: dict[str, Any]) -> dict[str, Any]:
    customer = Scenario.of(options).customer
    CUSTOMERS.require_known(customer)
    return options


def _agent(name: object) -> object:
    AGENTS.require_known(agent_of(name) if isinstance(name, str) else name)
    return name


Settings = dict[str, JsonValue]
Seeds = Annotated[StrictInt, Field(ge=1, lt=TRAINING_SEEDS)]
Environment = Annotated[Settings, AfterValidator(_environment)]


class SuiteFile(BaseModel):
    """The fields of a suite's file, as ``Suite`` has them."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    name: Annotated[str, Field(pattern=r"^[\w.-]+$", max_length=100)] | None = None
    description: str = ""
    sellers: Annotated[
        dict[Annotated[str, AfterValidator(SELLERS.require_known)], Settings],
        BeforeValidator(_tables),
    ] = {}
    agents: Annotated[
        dict[Annotated[str, AfterValidator(_agent)], Settings],
        BeforeValidator(_tables),
    ] = {}
    conversations: Annotated[StrictInt, Field(ge=0, le=_MOST, validate_default=True)] = 0
    evaluation_episodes: Annotated[StrictInt, Field(ge=1, le=_MOST)]
    training_seeds: Seeds = 1
    seeds: dict[str, Seeds] = {}
    keep: list[str] = []
    colder: Annotated[float, Field(gt=0, lt=1)] | None = None
    environment: Environment = {}
    evaluation: Environment = {}
    log: str | None = None

    @field_validator("conversations")
    @classmethod
    def _enough_for_agents(cls, conversations: int, info: ValidationInfo) -> int:
        if info.data.get("agents") and conversations < 1:
            raise ValueError("agents need a budget of at least 1 conversation, got 0")
        return conversations

    @field_validator("seeds")
    @classmethod
    def _of_agents(cls, seeds: dict[str, int], info: ValidationInfo) -> dict[str, int]:
        for name in seeds:
            if name not in info.data.get("agents", {name}):
                raise unknown("agent of this suite", name, info.data["agents"])
        return seeds

    @field_validator("keep")
    @classmethod
    def _of_some_agent(cls, patterns: list[str], info: ValidationInfo) -> list[str]:
        agents = info.data.get("agents")
        for pattern in patterns:
            if agents is not None and not fnmatch.filter(agents, pattern):
                raise ValueError(
                    f"{pattern!r} fits none of the suite's agents, which are"
                    f" {', '.join(agents) or 'none'}"
                )
        return patterns

    @field_validator("evaluation_episodes")
    @classmethod
    def _somebody_to_judge(cls, episodes: int, info: ValidationInfo) -> int:
        if info.data.get("agents") == {} and info.data.get("sellers") == {}:
            raise ValueError("there is nobody to compare: give sellers, agents or both")
        return episodes


def _problem(error: ErrorDetails) -> str:
    """Return one problem as: where, what was expected, what came."""
    path = [str(part) for part in error["loc"] if part != "[key]"]
    if error["type"] == "extra_forbidden" and len(path) == 1:
        return str(unknown("field", path[0], SuiteFile.model_fields))
    if error["type"] == "value_error":
        return f"{'.'.join(path)}: {error['ctx']['error']}"
    if error["type"] == "missing":
        return f"{'.'.join(path)} is missing"
    reason = error["msg"].replace("Input should", "should", 1)
    return f"{'.'.join(path)} {reason}, got {error['input']!r}"
