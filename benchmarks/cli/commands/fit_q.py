"""``convgym fit-q``: fit a policy's Q to a log."""

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
    Seed,
    computing,
    own_settings,
    with_computing,
)
from convgym.benchmarks.cli.steps import numbers, show, working


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(
        epilog=examples(
            "convgym fit-q log.jsonl --policy default --output q",
            "convgym fit-q log.jsonl --policy default --output q-short --set epochs=2 --seed 1",
        )
    )(fit_q)


def fit_q(
    log: Annotated[Path, typer.Argument(help="The log to learn from.")],
    policy: Annotated[
        str,
        typer.Option(help="The policy that held it: a folder, default, reading-seller or smollm2."),
    ],
    output: Annotated[Path, typer.Option(help="Folder for Q; never overwritten.")],
    settings: OwnSettings = None,
    held_out: Annotated[
        float, typer.Option(help="Share of the log that is kept for the gate.")
    ] = 0.1,
    seed: Seed = 0,
    device: Device = None,
    dtype: Dtype = None,
    as_json: AsJson = False,
) -> None:
    """Step 2: fit the multi-turn action value Q(s, a) of a policy to its log.

    Settings are those of the Q-function, and policy.* for how the policy is loaded: as it was when
    the log was collected. The steps that follow take them from the folder.
    """
    from convgym.agents.model.config import PolicyConfig
    from convgym.agents.pipeline.fitting import FitSettings, fit_to_folder
    from convgym.agents.settings import configured
    from convgym.agents.values.q_function import QFunctionConfig

    given = with_computing(own_settings(settings), computing(device, dtype), ["policy"])
    loading = {"policy": given.pop("policy")} if "policy" in given else {}
    start = FitSettings(held_out=held_out, seed=seed)
    chosen = configured(start, {**loading, "q_function": given}, "fit-q")
    assert isinstance(chosen.policy, PolicyConfig) and isinstance(
        chosen.q_function, QFunctionConfig
    )
    with working(output) as progress:
        report = fit_to_folder(log, policy, output, chosen, progress=progress)
    kept = report["held_out_conversations"]
    show(
        report,
        [
            f"{output}: Q of {policy}, fitted to {report['conversations'] - kept} conversations;"
            f" {kept} are kept for the gate",
            "what it is worth on conversations that it has not seen:",
            *numbers(report["diagnostics"]),
            *(f"note: {note}" for note in report["notes"]),
        ],
        as_json=as_json,
    )
