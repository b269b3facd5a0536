"""``convgym study``: one-off measurements by name, see ``convgym.benchmarks.studies``."""

from __future__ import annotations

from typing import Any

import typer
from typer.core import TyperGroup

from convgym.benchmarks.cli.examples import examples
from convgym.benchmarks.cli.options import findable
from convgym.benchmarks.studies import STUDIES


def register(app: typer.Typer) -> None:
    """Add the group of commands."""
    group = typer.Typer(
        help="Run one of the measurements behind the documentation.",
        no_args_is_help=True,
        cls=_Studies,
        epilog=examples("convgym study speed speed.json", "convgym list studies"),
    )
    app.add_typer(group, name="study")


class _Studies(TyperGroup):
    """Studies by name; none is imported, and nothing heavy loaded, before it is run."""

    def list_commands(self, ctx: typer.Context) -> list[str]:  # type: ignore[override]
        return STUDIES.names()

    def get_command(self, ctx: typer.Context, cmd_name: str) -> Any:  # type: ignore[override]
        findable(cmd_name)
        STUDIES.require_known(cmd_name)
        door = typer.Typer(add_completion=False)

        @door.command(
            cmd_name,
            help=cmd_name if ":" in cmd_name else STUDIES.summary(cmd_name),
            add_help_option=False,  # the study's own --help shows its options
            context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
        )
        def run(context: typer.Context) -> None:
            app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
            app.command()(STUDIES.resolve(cmd_name))
            app(args=context.args, prog_name=context.command_path)

        return typer.main.get_command(door)
