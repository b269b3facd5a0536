"""``convgym list``: all that can be asked for by name."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from convgym.benchmarks.cli.examples import examples
from convgym.benchmarks.terminal import say
from convgym.errors import unknown
from convgym.registry import Registry


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(
        epilog=examples(
            "convgym list",
            "convgym list agents",
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
    as_json: Annotated[bool, typer.Option("--json", help="Print it as JSON.")] = False,
) -> None:
    """Show what is there by name, from convgym and from installed packages, a line each."""
    every = registries()
    if kind is not None and kind not in every:
        raise unknown("kind", kind, every)
    summaries = {
        name: {known: registry.summary(known) for known in registry.names()}
        for name, registry in every.items()
        if kind in (None, name)
    }
    if as_json:
        say(json.dumps(summaries, indent=2))
        return
    width = max(len(known) for names in summaries.values() for known in names)
    blocks = [
        "\n".join([f"{name}:", *(f"  {each:{width}}  {text}" for each, text in names.items())])
        for name, names in summaries.items()
    ]
    say("\n\n".join(blocks))
