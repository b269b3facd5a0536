"""``convgym report``: a run's table, picture and page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from convgym.benchmarks.terminal import console, say


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(report)


def report(folder: Annotated[Path, typer.Argument(help="A results folder.")]) -> None:
    """Show a run's table and write its picture and page anew, from the stored files alone."""
    show_report(folder)


def show_report(folder: Path) -> None:
    """Write picture and page of a results folder, and print its table."""
    from convgym.benchmarks.report.write import table, write_report

    written = write_report(folder)
    console().print(table(written.scores))
    for note in written.notes:
        say(note)
    say(f"\nresults   {folder}\npage      {written.page}")
    if written.picture:
        say(f"picture   {written.picture}")
    else:
        say("picture   none, matplotlib is not installed: pip install 'convgym[train]'")
