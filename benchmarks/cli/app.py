"""The command line ``convgym``: every module of ``commands`` is one command, or one group."""

from __future__ import annotations

import importlib
import pkgutil
from typing import Annotated

import typer

import convgym
from convgym.agents.launcher import launched, launched_alone
from convgym.benchmarks.cli import commands
from convgym.benchmarks.cli.examples import examples
from convgym.errors import ConvgymError

_FIRST = examples(
    "convgym doctor",
    "convgym bench smoke",
    "convgym chat",
    "convgym bench quick",
)


def make_app() -> typer.Typer:
    """Return the command line with all of its commands.

    A module of ``convgym.benchmarks.cli.commands`` has a function ``register(app)`` that adds its
    command; a new command is one new file. What a command needs is imported when it is called.
    """
    app = typer.Typer(
        name="convgym",
        help="Conversations with customers: train and compare agents that sell.",
        no_args_is_help=True,
        epilog=_FIRST,
        pretty_exceptions_enable=False,
    )
    app.callback()(_options)
    for module in pkgutil.iter_modules(commands.__path__):
        importlib.import_module(f"{commands.__name__}.{module.name}").register(app)
    return app


def _show_version(wanted: bool) -> None:
    if wanted:
        print(f"convgym {convgym.__version__}")
        raise typer.Exit


_SHARING = ("improve", "pretrain")
"""Commands that processes may share which ``accelerate launch`` started."""


def _refuse_launchers(command: str | None) -> None:
    """Raise ConvgymError where a launcher started other processes than the command can use."""
    if launched_alone() and command in _SHARING:
        raise ConvgymError(
            "accelerate launch was asked for several processes and started one, as it does where it"
            " finds fewer than two GPUs: torchrun --nproc_per_node N -m --"
            f" convgym.benchmarks.cli.main {command} ... starts them everywhere"
        )
    if launched() > 1 and command not in _SHARING:
        raise ConvgymError(
            f"convgym {command} is one process, and accelerate launch or torchrun started several,"
            " which would all do the same: those share convgym improve and pretrain alone; convgym"
            " bench takes --jobs"
        )


def _options(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show it.")
    ] = False,
) -> None:
    _refuse_launchers(context.invoked_subcommand)
