"""The suite ``frontier``: how few deployments are enough, for each agent at an equal budget.

Its agents are families of variants, ``NAME@DEPLOYMENTS``. A family is a run of its own, in a folder
of its own, so that several processes can work side by side; the report reads the folders together::

    convgym bench frontier --agents 'online-ppo@*' --output results/frontier/online-ppo
    convgym report results/frontier
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from convgym.benchmarks.runs.suites import FRONTIER_SUMMARY, Suite

DEPLOYMENTS = (1, 2, 4, 8, 16)
BUDGET = 4096
SEEDS, SEEDS_AT_THE_ENDS = 5, 1
"""Training seeds at 2, 4 and 8 deployments, and at 1 and 16."""

_STEPS = {1: 16, 2: 12, 4: 6, 8: 4, 16: 3}
"""Batches of fresh responses in a round, by rounds: the fewer, the more each has to do."""

_NO_GATE: Mapping[str, Any] = {"held_out": 0.0}
"""What is compared is how much is learned; how often the gate errs is measured apart."""


def _iterative(rounds: int, solver: str, steps: str) -> Mapping[str, Any]:
    return {"improvement": {"name": solver, steps: _STEPS[rounds]}, "gate": _NO_GATE}


def _letter(rounds: int) -> Mapping[str, Any]:
    """Return the paper to the letter: Q is fitted to outcomes alone, and nothing is imitated."""
    return {
        "q_function": {"imagined": 0.0, "reply_weight": 0.0},
        "imitation": {"epochs": 0},
        "gate": _NO_GATE,
    }


def _defaults(rounds: int) -> Mapping[str, Any]:
    return {}


_FAMILIES: Mapping[str, Callable[[int], Mapping[str, Any]]] = {
    "iterative-ppo@": partial(_iterative, solver="token-ppo", steps="fresh_steps"),
    "iterative-ppo@letter-": _letter,
    "iterative-grpo@": partial(_iterative, solver="token-grpo", steps="steps"),
    "expert-iteration@": _defaults,
    "online-ppo@": _defaults,
    "turn-level-ppo@": _defaults,
    "trajectory-grpo@": _defaults,
    "trajectory-rloo@": _defaults,
}
"""What comes before the number in a variant's name, and its settings beside ``rounds``. Not all
families are tuned yet (``convgym study frontier-tuning``); the best go here before a run."""

_VARIANTS = {
    f"{family}{number}": {"rounds": number, **settings(number)}
    for family, settings in _FAMILIES.items()
    for number in DEPLOYMENTS
}

FRONTIER = Suite(
    "frontier",
    FRONTIER_SUMMARY,
    sellers=("mediocre", "competent", "oracle"),
    agents=tuple(_VARIANTS),
    conversations=BUDGET,
    evaluation_episodes=2000,
    training_seeds=SEEDS,
    overrides=_VARIANTS,
    seeds={
        f"{family}{number}": SEEDS_AT_THE_ENDS
        for family in _FAMILIES
        for number in (DEPLOYMENTS[0], DEPLOYMENTS[-1])
    },
    keep=("*@4-seed0",),
    colder=0.25,
)
