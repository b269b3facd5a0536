"""What the gate said of rounds of stored runs, beside what the next deployment showed.

These are steps as Iterative PPO takes them, nearly all of them good: they tell what a strict gate
costs, where the steps that were made for ``convgym study gate`` tell what a lenient one lets pass.
A round that was turned down has no next deployment of its policy, and is left out.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from convgym.benchmarks.runs.reading import read_curves, read_results, read_rows
from convgym.statistics import newcombe_interval

_SAID = ("kl", "predicted_gain", "predicted_gain_error")
RUNS = MappingProxyType(
    {
        "standard-iterative": "tuning",
        "lab/2026-11-25-standard-sorted-minibatches": "judging",
        "lab/2026-11-25-standard-two-rounds": "judging",
        "lab/2026-11-25-standard-four-rounds": "tuning",
    }
)
"""Runs in ``benchmarks/results``, and what their rounds are for."""


def stored_rounds(folder: Path, agent: str = "iterative-ppo") -> list[dict[str, Any]]:
    """Return the passed rounds of a stored run's agent, with the change that followed each.

    Conversion is that of the deployment that fitted Q, and that of the next one, or of the final
    evaluation: other customers, so the interval is Newcombe's. ``truth`` is as of a made step.
    """
    points: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for point in read_curves(folder):
        if point["name"] == agent:
            sold = round(point["conversion"] * point["episodes"])
            points[point["seed"]].append((sold, point["episodes"]))
    for result in read_results(folder):
        if result.job.kind == "agent" and result.job.name == agent:
            points[result.job.seed].append((result.conversions, result.episodes))
    found = []
    numbers: dict[int, int] = defaultdict(int)
    for row in read_rows(folder / "training.jsonl"):
        if row["name"] != agent:
            continue
        seed = row["seed"]
        before, after = points[seed][numbers[seed] : numbers[seed] + 2]
        numbers[seed] += 1
        if row["passed_gate"]:
            change = newcombe_interval(*after, *before)
            found.append(
                {
                    "run": folder.name,
                    "seed": seed,
                    "round": numbers[seed],
                    "change": change.value,
                    "low": change.low,
                    "high": change.high,
                    "truth": "good" if change.low > 0 else "bad" if change.high < 0 else "even",
                    **{name: row[name] for name in _SAID},
                }
            )
    return found


def passed_by(rounds: Sequence[Mapping[str, Any]], standard_errors: float) -> dict[str, list[int]]:
    """Return how many rounds a rule passes, and of how many, by what they were worth."""
    counts = {kind: [0, 0] for kind in ("good", "even", "bad")}
    for row in rounds:
        count = counts[row["truth"]]
        bound = -standard_errors * row["predicted_gain_error"]
        count[0] += row["predicted_gain"] >= bound
        count[1] += 1
    return counts
