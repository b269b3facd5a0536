"""The suite ``frontier``: how few deployments are enough, for each agent at an equal budget.

Its agents are families of variants, ``NAME@DEPLOYMENTS``. A family is a run of its own, in a folder
of its own, so that several processes can work side by side; the report reads the folders together::

    convgym bench frontier --agents 'online-ppo@*' --output results/frontier/online-ppo
    convgym report results/frontier
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from convgym.benchmarks.runs.suites import FRONTIER_SUMMARY, Suite

DEPLOYMENTS = (1, 2, 4, 8, 16)
BUDGET = 4096
SEEDS, SEEDS_AT_THE_ENDS = 5, 1
"""Training seeds at 2, 4 and 8 deployments, and at 1 and 16."""

_LETTER: Mapping[str, Any] = {
    "q_function": {"imagined": 0.0, "reply_weight": 0.0},
    "imitation": {"epochs": 0},
}
"""The paper to the letter: Q is fitted to the outcomes alone, and nothing is imitated."""
_FAMILIES: Mapping[str, Mapping[str, Any]] = {
    "iterative-ppo@": {},
    "iterative-ppo@letter-": _LETTER,
    "iterative-grpo@": {},
    "expert-iteration@": {},
    "online-ppo@": {},
    "turn-level-ppo@": {},
    "trajectory-grpo@": {},
    "trajectory-rloo@": {},
}
"""What comes before the number in a variant's name, and its settings beside ``rounds``."""

_VARIANTS = {
    f"{family}{number}": {"rounds": number, **settings}
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
