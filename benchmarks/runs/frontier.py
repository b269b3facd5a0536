"""The suite ``frontier``: how few deployments are enough, for each agent at an equal budget.

Its agents are families of variants, ``NAME@DEPLOYMENTS``. A family is a run of its own, in a folder
of its own, so that several processes can work side by side; the report reads the folders together::

    convgym bench frontier --agents 'online-ppo@*' --output results/frontier/online-ppo
    convgym report results/frontier

``frontier-long`` gives the best four families four times as many conversations, in 16 deployments.
``frontier-cold`` deploys two families at a lower temperature; they are judged as all others are, at
temperature 1.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from convgym.benchmarks.runs.suites import COLD_SUMMARY, FRONTIER_SUMMARY, LONG_SUMMARY, Suite

DEPLOYMENTS = (1, 2, 4, 8, 16)
BUDGET = 4096
SEEDS, SEEDS_AT_THE_ENDS = 5, 1
"""Training seeds at 2, 4 and 8 deployments, and at 1 and 16."""

_STEPS = {1: 16, 2: 16, 4: 8, 8: 4, 16: 2}
"""Batches of fresh responses in a round, by rounds: 32 in all, and never more than 16 in one;
half as many again for Iterative GRPO."""

_NO_GATE: Mapping[str, Any] = {"held_out": 0.0}
"""What is compared is how much is learned; how often the gate errs is measured apart."""


def _iterative(rounds: int) -> Mapping[str, Any]:
    step = {"fresh_steps": _STEPS[rounds], "fresh_kl_coefficient": 0.2}
    return {"improvement": {"name": "token-ppo", **step}, "gate": _NO_GATE}


def _iterative_grpo(rounds: int) -> Mapping[str, Any]:
    step = {"steps": _STEPS[rounds] * 3 // 2, "kl_coefficient": 0.4}
    return {
        "improvement": {"name": "token-grpo", **step},
        "q_function": {"epochs": 2},
        "gate": _NO_GATE,
    }


def _letter(rounds: int) -> Mapping[str, Any]:
    """Return the paper to the letter: Q is fitted to outcomes alone, and nothing is imitated."""
    settings = _iterative(rounds)
    return {
        **settings,
        "improvement": {**settings["improvement"], "fresh_kl_coefficient": 0.8},
        "q_function": {"imagined": 0.0, "reply_weight": 0.0},
        "imitation": {"epochs": 0},
    }


def _tuned(rounds: int, **settings: Any) -> Mapping[str, Any]:
    return settings


_FAMILIES: Mapping[str, Callable[[int], Mapping[str, Any]]] = {
    "iterative-ppo@": _iterative,
    "iterative-ppo@letter-": _letter,
    "iterative-grpo@": _iterative_grpo,
    "expert-iteration@": partial(_tuned, imitation={"epochs": 4, "minibatch": 16}),
    "online-ppo@": partial(_tuned, epochs=3),
    "turn-level-ppo@": partial(_tuned, epochs=2),
    "trajectory-grpo@": partial(_tuned, epochs=2),
    "trajectory-rloo@": partial(_tuned, epochs=6, clip=0.2),
}
"""What comes before the number in a variant's name, and its settings beside ``rounds``: the best of
eight with four deployments (``convgym study frontier-tuning``)."""

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
    keep=("*@4", "*@letter-4"),
    colder=0.25,
)

_DEPLOYED_COLD = ("iterative-grpo@", "expert-iteration@")
_UP_TO_8 = DEPLOYMENTS[:-1]

COLD = Suite(
    "frontier-cold",
    COLD_SUMMARY,
    sellers=(),
    agents=tuple(f"{family}cold-{n}" for family in _DEPLOYED_COLD for n in _UP_TO_8),
    conversations=BUDGET,
    evaluation_episodes=FRONTIER.evaluation_episodes,
    training_seeds=SEEDS,
    overrides={
        f"{family}cold-{n}": {**_VARIANTS[f"{family}{n}"], "exploration": [FRONTIER.colder]}
        for family in _DEPLOYED_COLD
        for n in _UP_TO_8
    },
    seeds={f"{family}cold-{_UP_TO_8[0]}": SEEDS_AT_THE_ENDS for family in _DEPLOYED_COLD},
    keep=("*@cold-4",),
    colder=FRONTIER.colder,
)

_BEST = ("iterative-ppo@", "iterative-grpo@", "expert-iteration@", "turn-level-ppo@")
_LONGEST = 16


def _long(family: str) -> Mapping[str, Any]:
    """Return settings for deployments of as many conversations as one of four has above.

    The gate is left in: who takes so many steps meets one that is bad.
    """
    settings = {name: value for name, value in _FAMILIES[family](4).items() if name != "gate"}
    return {**settings, "rounds": _LONGEST}


LONG = Suite(
    "frontier-long",
    LONG_SUMMARY,
    sellers=FRONTIER.sellers,
    agents=tuple(f"{family}{_LONGEST}" for family in _BEST),
    conversations=4 * BUDGET,
    evaluation_episodes=2000,
    training_seeds=2,
    overrides={f"{family}{_LONGEST}": _long(family) for family in _BEST},
    keep=("*",),
    colder=FRONTIER.colder,
)
