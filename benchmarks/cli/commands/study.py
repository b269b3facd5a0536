"""``convgym study``: one-off measurements by name, see ``convgym.benchmarks.studies``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import typer
from typer.core import TyperGroup
from typer.models import ArgumentInfo, ParameterInfo

from convgym.benchmarks.cli.examples import examples
from convgym.benchmarks.cli.options import findable
from convgym.benchmarks.studies import STUDIES
from convgym.options import Option, parameters_of, shown_type


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
            _command(cmd_name)(args=context.args, prog_name=context.command_path)

        return typer.main.get_command(door)


def options_of(name: str) -> Iterator[Option]:
    """Yield what a study takes on its command line, as its ``--help`` has it."""
    main = STUDIES.resolve(name)
    hints = get_type_hints(main, include_extras=True)
    for each in parameters_of(main):
        hint = hints.get(each.name, str)
        annotated = [*get_args(hint)] if get_origin(hint) is Annotated else [hint]
        told = next((info for info in annotated if isinstance(info, ParameterInfo)), None)
        is_argument = isinstance(told, ArgumentInfo) or not (told or each.has_default)
        named = [*(getattr(told, "param_decls", None) or ()), f"--{each.name.replace('_', '-')}"]
        yield replace(
            each,
            name=each.name if is_argument else named[0],
            kind=shown_type(annotated[0]),
            has_default=each.default not in (None, False),  # which nobody can give
            text=" ".join((told.help or "").split()) if told else each.text,
        )


def _command(name: str) -> typer.Typer:
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(STUDIES.resolve(name))
    return app
