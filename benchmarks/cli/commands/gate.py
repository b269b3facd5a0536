"""``convgym gate``: may a new policy be deployed?"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from convgym.benchmarks.cli.examples import examples
from convgym.benchmarks.cli.options import (
    AsJson,
    Device,
    Dtype,
    OwnSettings,
    computing,
    own_settings,
)
from convgym.benchmarks.cli.steps import show, working


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(
        epilog=examples(
            "convgym gate better --policy default --q q --log log.jsonl",
            "convgym gate better --policy default --q q --log log.jsonl --set max_kl=20",
        )
    )(gate)


def gate(
    new: Annotated[str, typer.Argument(help="The new policy's folder.", metavar="POLICY")],
    policy: Annotated[
        str, typer.Option(help="The old policy, that Q is of: a folder, or default, or smollm2.")
    ],
    q: Annotated[Path, typer.Option("--q", help="The folder of its Q, from convgym fit-q.")],
    log: Annotated[Path, typer.Option(help="The log that Q was fitted to.")],
    settings: OwnSettings = None,
    estimate_behaviour: Annotated[
        bool,
        typer.Option(
            "--estimate-behaviour",
            help="Where the log lacks log-probabilities, take the old policy's.",
        ),
    ] = False,
    device: Device = None,
    dtype: Dtype = None,
    as_json: AsJson = False,
) -> None:
    """Step 4: estimate what a new policy gains, on the conversations that were kept for this.

    Exit code 0 if it passes, 1 if it is turned down or the gate cannot judge. Settings are those
    of the gate: standard_errors, max_kl, min_conversations and so on. It computes where and as
    exactly as Q was fitted, unless something else is said.
    """
    from convgym.agents.off_policy.gate import GateConfig
    from convgym.agents.pipeline.gating import judge_policy
    from convgym.agents.settings import configured

    config = configured(GateConfig(), own_settings(settings), "the gate")
    placed = computing(device, dtype)
    with working():
        report = judge_policy(
            new,
            policy,
            q,
            log,
            config,
            estimate_behaviour=estimate_behaviour,
            computing=placed,
        )
    lines = [f"{report['verdict']}: {new}", *(f"  {reason}" for reason in report["reasons"])]
    if "gain" in report:
        lines += [
            f"  estimated gain in conversion {100 * report['gain']:+.1f} points"
            f" [{100 * report['low']:+.1f}, {100 * report['high']:+.1f}],"
            f" standard error {100 * report['standard_error']:.1f}",
            *_caution(report),
            f"  by {report['conversations']} conversations, {report['sales']} of them sales;"
            f" divergence {report['kl']:.2f} nats a response",
        ]
    show(report, lines, as_json=as_json)
    if report["verdict"] != "passed":
        raise SystemExit(1)


def _caution(report: Mapping[str, Any]) -> list[str]:
    """Return what an interval says that leaves open whether anything is gained."""
    low, high = report["low"], report["high"]
    if not low <= 0.0 <= high:
        return []
    if not math.isfinite(report["standard_error"]):
        return ["  how wrong that may be is not known: one conversation has no spread"]
    return [
        f"  caution: the interval is {100 * (high - low):.0f} points wide and holds 0, so these"
        " conversations do not show whether the policy sells more or less: collect more, or"
        " compare both by convgym evaluate --against",
    ]
