"""``convgym list``: all that can be asked for by name, and what can be set of it."""

from __future__ import annotations

import dataclasses
import inspect
import json
import shutil
import textwrap
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from convgym.benchmarks.cli.examples import examples
from convgym.benchmarks.cli.options import findable
from convgym.benchmarks.runs.suites import agent_of
from convgym.benchmarks.terminal import say
from convgym.datafiles import dumps
from convgym.errors import unknown
from convgym.registry import Registry

if TYPE_CHECKING:
    from convgym.options import Option

_WIDEST = 100


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(
        epilog=examples(
            "convgym list",
            "convgym list agents",
            "convgym list agents iterative-ppo",
            "convgym list suites frontier",
            "convgym list customers --json",
        )
    )(list)


def registries() -> Mapping[str, Registry[Any]]:
    """Return every registry by the plural of its kind."""
    from convgym.agents.improvement.registry import IMPROVEMENTS
    from convgym.agents.registry import AGENTS
    from convgym.benchmarks.runs.suites import SUITES
    from convgym.benchmarks.studies import STUDIES
    from convgym.customers import CUSTOMERS
    from convgym.llm.registry import BACKENDS
    from convgym.sellers import SELLERS

    every: tuple[Registry[Any], ...] = (
        CUSTOMERS,
        BACKENDS,
        SELLERS,
        AGENTS,
        IMPROVEMENTS,
        SUITES,
        STUDIES,
    )
    return {registry.group.removeprefix("convgym."): registry for registry in every}


def list(
    kind: Annotated[
        str | None,
        typer.Argument(
            help="customers, backends, sellers, agents, improvements, suites or studies."
        ),
    ] = None,
    name: Annotated[
        str | None,
        typer.Argument(
            help="One of them: what it is, and what can be set of it.", callback=findable
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print it as JSON.")] = False,
) -> None:
    """Show what is there by name, from convgym and from installed packages, a line each.

    With a name, show what can be set of that, which imports it; a suite is shown as a file.
    """
    every = registries()
    if kind is not None and kind not in every:
        raise unknown("kind", kind, every)
    if kind is not None and name is not None:
        if kind == "agents":
            name = agent_of(name)  # a variant has the settings of its agent
        say(_json(kind, name) if as_json else _page(kind, name))
        return
    summaries = {
        group: {known: registry.summary(known) for known in registry.names()}
        for group, registry in every.items()
        if kind in (None, group)
    }
    if as_json:
        say(json.dumps(summaries, indent=2))
        return
    width = max(len(known) for names in summaries.values() for known in names)
    blocks = [
        "\n".join([f"{group}:", *(f"  {each:{width}}  {text}" for each, text in names.items())])
        for group, names in summaries.items()
    ]
    say("\n\n".join(blocks))


def _page(kind: str, name: str) -> str:
    """Return what a user reads about one thing."""
    if kind == "suites":
        from convgym.benchmarks.runs.suite_file import suite_text
        from convgym.benchmarks.runs.suites import get_suite

        return suite_text(get_suite(name)).rstrip()
    width = min(_WIDEST, shutil.get_terminal_size((_WIDEST, 0)).columns)
    lines = [_about(kind, name), ""]
    for option in _options(kind, name):
        of_kind = f": {option.kind}" if option.kind else ""
        default = f" = {option.given}" if option.given else ""
        lines.append(f"{option.name}{of_kind}{default}")
        lines += textwrap.wrap(option.text, width, initial_indent="    ", subsequent_indent="    ")
    return "\n".join(lines).rstrip()


def _json(kind: str, name: str) -> str:
    if kind == "suites":
        from convgym.benchmarks.runs.suites import get_suite

        return dumps(dataclasses.asdict(get_suite(name)), indent=2)
    options = [
        dataclasses.asdict(option) | {"default": _finite(option)} for option in _options(kind, name)
    ]
    return dumps({"name": name, "about": _about(kind, name), "options": options}, indent=2)


def _finite(option: Option) -> Any:
    """Return a default; as it would be given where JSON has no name for a number in it."""
    try:
        json.dumps(option.default, allow_nan=False)
    except ValueError:
        return option.given
    return option.default


def _about(kind: str, name: str) -> str:
    """Return its line in the list and its docstring, without what its options say."""
    from convgym.contracts import made_from
    from convgym.options import arguments

    registry = registries()[kind]
    thing = registry.resolve(name)
    has_text = inspect.isroutine(made_from(thing)) or inspect.isclass(made_from(thing))
    text = arguments(thing)[0] if has_text and kind != "studies" else None
    listed = None if ":" in name and not registry.is_of_family(name) else registry.summary(name)
    return "\n\n".join(part for part in (listed, text) if part) or name


def _options(kind: str, name: str) -> Iterable[Option]:
    from convgym.options import parameters_of, settings_of

    if kind == "agents":
        from convgym.agents.registry import start_config

        return settings_of(start_config(name))
    if kind == "studies":
        from convgym.benchmarks.cli.commands.study import options_of

        return options_of(name)
    if kind == "improvements":
        from convgym.agents.improvement.registry import make_improvement

        return settings_of(make_improvement(name))
    from convgym.sellers.registry import OF_CUSTOMERS

    follows = OF_CUSTOMERS if kind == "sellers" else ()
    options = parameters_of(registries()[kind].resolve(name))
    return [option for option in options if option.name not in follows]
