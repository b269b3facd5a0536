"""``convgym improve``: one improvement step against a fitted Q."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from convgym.benchmarks.cli.examples import examples
from convgym.benchmarks.cli.options import (
    AsJson,
    Device,
    Dtype,
    OwnSettings,
    computing,
    findable,
    own_settings,
)
from convgym.benchmarks.cli.steps import numbers, show, working


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(
        epilog=examples(
            "convgym improve default --q q --log log.jsonl --output better",
            "convgym improve default --q q --log log.jsonl --output grpo --solver token-grpo",
        )
    )(improve)


def improve(
    policy: Annotated[
        str, typer.Argument(help="The policy that Q is of: a folder, or default, or smollm2.")
    ],
    q: Annotated[Path, typer.Option("--q", help="The folder of its Q, from convgym fit-q.")],
    log: Annotated[Path, typer.Option(help="The log that Q was fitted to.")],
    output: Annotated[Path, typer.Option(help="Folder for the new policy; never overwritten.")],
    solver: Annotated[
        str,
        typer.Option(
            help="token-ppo, token-grpo, best-of-n, grpo, rloo, or package.module:Class.",
            callback=findable,
        ),
    ] = "token-ppo",
    settings: OwnSettings = None,
    imitate: Annotated[
        bool, typer.Option("--imitate/--no-imitate", help="Imitate what was sold, beforehand.")
    ] = True,
    device: Device = None,
    dtype: Dtype = None,
    as_json: AsJson = False,
) -> None:
    """Step 3: improve a policy by its Q, at the states of its log. No customer is met.

    Settings are those of the solver, and imitation.* of the imitation. It computes where and as
    exactly as Q was fitted, unless something else is said.
    """
    from convgym.agents.improvement.registry import as_improvement
    from convgym.agents.pipeline.improving import ImprovementSettings, improve_to_folder
    from convgym.agents.settings import configured
    from convgym.agents.training.imitation import Imitation
    from convgym.errors import ConvgymError

    given = own_settings(settings)
    imitation = given.pop("imitation", {})
    if not imitate:
        if imitation:
            raise ConvgymError("imitation has settings, and --no-imitate leaves it out: drop one")
        imitation = {"epochs": 0}
    chosen = configured(
        ImprovementSettings(solver=as_improvement({"name": solver, **given}), solver_name=solver),
        {"imitation": imitation},
        "improve",
    )
    assert isinstance(chosen.imitation, Imitation)
    placed = computing(device, dtype)
    with working(output) as progress:
        report = improve_to_folder(
            policy, q, log, output, chosen, computing=placed, progress=progress
        )
    show(
        report,
        [
            f"{output}: {policy}, improved at the states of {report['conversations']}"
            " conversations",
            *numbers(report["metrics"]),
            *(f"note: {note}" for note in report.get("notes", [])),
        ],
        as_json=as_json,
    )
