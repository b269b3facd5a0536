"""``convgym study``: one-off measurements, a module of ``convgym.benchmarks.studies`` each."""

from __future__ import annotations

import ast
import importlib
import pkgutil
from pathlib import Path
from typing import Any

import typer
import typer.main
from typer.core import TyperGroup

from convgym.benchmarks import studies

_FRAME = "study"
"""The module that all studies share, itself none."""


def register(app: typer.Typer) -> None:
    """Add the group of commands."""
    group = typer.Typer(
        help="Run one of the measurements behind the documentation.",
        no_args_is_help=True,
        cls=_Studies,
    )
    app.add_typer(group, name="study")


class _Studies(TyperGroup):
    """Studies by name; none is imported, and nothing heavy loaded, before it is run."""

    def list_commands(self, ctx: typer.Context) -> list[str]:  # type: ignore[override]
        names = [module.name for module in pkgutil.iter_modules(studies.__path__)]
        return [name.replace("_", "-") for name in names if name != _FRAME]

    def get_command(self, ctx: typer.Context, cmd_name: str) -> Any:  # type: ignore[override]
        if cmd_name not in self.list_commands(ctx):
            return None
        module = cmd_name.replace("-", "_")
        door = typer.Typer(add_completion=False)

        @door.command(
            cmd_name,
            help=_first_line(module),
            add_help_option=False,  # the study's own --help shows its options
            context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
        )
        def run(context: typer.Context) -> None:
            app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
            app.command()(importlib.import_module(f"{studies.__name__}.{module}").main)
            app(args=context.args, prog_name=context.command_path)

        return typer.main.get_command(door)


def _first_line(module: str) -> str:
    """Return the first line of a module's text, without importing it."""
    path = Path(studies.__path__[0]) / f"{module}.py"
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return text.partition("\n")[0]
