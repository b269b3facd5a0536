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


def _iterative(rounds: int, solver: str, steps: str, penalty: str) -> Mapping[str, Any]:
    return {
        "improvement": {"name": solver, steps: _STEPS[rounds], penalty: 0.4},
        "q_function": {"epochs": 2},
        # What is compared is how much is learned; how often the gate errs is measured apart.
        "gate": {"held_out": 0.0},
    }


def _letter(rounds: int) -> Mapping[str, Any]:
    """Return the paper to the letter: Q is fitted to outcomes alone, and nothing is imitated."""
    return {
        "q_function": {"imagined": 0.0, "reply_weight": 0.0},
        "imitation": {"epochs": 0},
        "gate": {"held_out": 0.0},
    }


def _nothing(rounds: int) -> Mapping[str, Any]:
    return {}


_PPO = partial(_iterative, solver="token-ppo", steps="fresh_steps", penalty="fresh_kl_coefficient")
_GRPO = partial(_iterative, solver="token-grpo", steps="steps", penalty="kl_coefficient")
_FAMILIES: Mapping[str, Callable[[int], Mapping[str, Any]]] = {
    "iterative-ppo@": _PPO,
    "iterative-ppo@letter-": _letter,
    "iterative-grpo@": _GRPO,
    "expert-iteration@": _nothing,
    "online-ppo@": _nothing,
    "turn-level-ppo@": _nothing,
    "trajectory-grpo@": _nothing,
    "trajectory-rloo@": _nothing,
}
"""What comes before the number in a variant's name, and its settings beside ``rounds``: the best
of those that ``convgym study frontier-tuning`` tried."""

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
