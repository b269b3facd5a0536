"""``convgym report``: a run's table, picture and page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from convgym.benchmarks.cli.examples import examples
from convgym.benchmarks.cli.options import named
from convgym.benchmarks.terminal import say, show_table
from convgym.installing import install_command


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(
        epilog=examples(
            "convgym report results/quick-seed0",
            "convgym report results/* --output both",
        )
    )(report)


def report(
    folders: Annotated[
        list[Path],
        typer.Argument(help="Results folders, or folders of them, to be read together."),
    ],
    output: Annotated[
        Path | None, typer.Option(help="Where to write, if not into the one folder given.")
    ] = None,
    rows: Annotated[
        str | None,
        typer.Option(help="Rows to compare in pairs: a,b or patterns ('*@4'). All agents if none."),
    ] = None,
    mixed: Annotated[
        bool, typer.Option("--mixed", help="Read runs together that were not made alike.")
    ] = False,
) -> None:
    """Show the table of runs and write picture and page anew, from the stored files alone."""
    show_report(*folders, output=output, rows=rows, mixed=mixed)


def show_report(
    *folders: Path, output: Path | None = None, rows: str | None = None, mixed: bool = False
) -> None:
    """Write picture and page of results folders, and print their tables."""
    from convgym.benchmarks.report.write import pairs_table, table, write_report

    wanted = None if rows is None else named(rows)
    written = write_report(*folders, output=output, mixed=mixed, rows=wanted)
    show_table(table(written.scores))
    for family in written.families[:1]:
        show_table(pairs_table(family))
    for note in written.notes:
        say(note)
    say(f"\nresults   {', '.join(map(str, folders))}\npage      {written.page}")
    if written.comparisons:
        say(f"pairs     {written.comparisons}")
    if written.picture:
        say(f"picture   {written.picture}")
    else:
        say(f"picture   none, matplotlib is not installed: {install_command('train')}")
