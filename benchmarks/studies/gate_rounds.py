"""What the gate said of rounds of stored runs, beside what the next deployment showed.

These are steps as Iterative PPO takes them, nearly all of them good: they tell what a strict gate
costs, where the steps that were made for ``convgym study gate`` tell what a lenient one lets pass.
A round that was turned down has no next deployment of its policy, and is left out.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

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
    for file in ("curves", "results"):
        for point in _rows(folder / f"{file}.jsonl", agent):
            sold = round(point["conversion"] * point["episodes"])
            points[point["seed"]].append((sold, point["episodes"]))
    rounds = []
    numbers: dict[int, int] = defaultdict(int)
    for row in _rows(folder / "training.jsonl", agent):
        seed = row["seed"]
        before, after = points[seed][numbers[seed] : numbers[seed] + 2]
        numbers[seed] += 1
        if row["passed_gate"]:
            change = newcombe_interval(*after, *before)
            rounds.append(
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
    return rounds


def passed_by(rounds: Sequence[Mapping[str, Any]], standard_errors: float) -> dict[str, list[int]]:
    """Return how many rounds a rule passes, and of how many, by what they were worth."""
    counts = {kind: [0, 0] for kind in ("good", "even", "bad")}
    for row in rounds:
        count = counts[row["truth"]]
        bound = -standard_errors * row["predicted_gain_error"]
        count[0] += row["predicted_gain"] >= bound
        count[1] += 1
    return counts


def _rows(path: Path, agent: str) -> list[dict[str, Any]]:
    """Return an agent's rows of a file of a results folder."""
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return [row for row in rows if (row["kind"], row["name"]) == ("agent", agent)]
