"""``convgym doctor``: what is installed, what is missing, and how to get it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import typer

from convgym.benchmarks.cli.examples import examples
from convgym.benchmarks.cli.options import AsJson
from convgym.benchmarks.cli.steps import show

if TYPE_CHECKING:
    from convgym.benchmarks.cli.health import Health


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog=examples("convgym doctor", "convgym doctor --json"))(doctor)


def doctor(as_json: AsJson = False) -> None:
    """Say what is installed, what is missing and how to get it, and where models would compute.

    Exit code 0, also where something optional is missing; 1 if something is broken.
    """
    from convgym.benchmarks.cli.health import examine

    health = examine()
    show(health.as_json(), [*_lines(health)], as_json=as_json)
    if health.broken:
        raise SystemExit(1)


def _lines(health: Health) -> Iterator[str]:
    about, machine, torch = health.convgym, health.machine, health.torch
    yield f"convgym {about['version']} in {about['folder']}"
    yield f"Python {about['python']}: {about['executable']}"
    memory = f", {machine['memory_gb']} GB of memory" if machine["memory_gb"] else ""
    yield (
        f"machine: {machine['processor']}, {machine['cores']} cores{memory},"
        f" {machine['disk_free_gb']} GB of disk free here ({machine['platform']})"
    )
    if torch:
        gpus = f" ({', '.join(torch['gpus'])})" if torch["gpus"] else ""
        yield (
            f"torch {torch['version']}, {torch['build']} build: models would compute on"
            f" {torch['device']}{gpus}, {torch['threads']} threads"
        )
    yield "\nextras:"
    for name, extra in health.extras.items():
        there = ", ".join(f"{package} {version}" for package, version in extra.packages.items())
        yield f"  {name}: {there or 'nothing of it is installed'}"
        if extra.missing:
            yield f"    lacks {', '.join(extra.missing)}: {extra.install}"
    is_set = [
        f"{name} is {'' if given else 'not '}set" for name, given in health.environment.items()
    ]
    yield f"\nendpoint: {', '.join(is_set)}"
    caches = health.caches
    yield f"models from Hugging Face: {caches['models']} in {caches['hugging_face']}"
    yield from (f"note: {note}" for note in health.notes)
    yield from (f"broken: {fault}" for fault in health.broken)
    if not health.broken:
        yield "\nall that is installed works; the next step: convgym bench smoke"
