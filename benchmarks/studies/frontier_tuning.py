"""Equal tuning for the frontier: as many settings of each agent, on customers for tuning alone.

    convgym study frontier-tuning FILE.json --family online-ppo

Every family of the suite ``frontier`` is tried with eight settings, at half of its budget and four
deployments, with one training seed. All are judged on the same customers of the training range,
whom no training seed of the suite meets. The best setting by conversion is the suite's. The second
four of a family lie around the best of its first four; ``--skip 4`` tries them alone.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from convgym.agents import make_agent
from convgym.agents.training.collector import Collector
from convgym.benchmarks.studies.study import Study, show
from convgym.errors import unknown
from convgym.rollout import rollout
from convgym.seeds import train_seeds
from convgym.statistics import wilson_interval

ROUNDS, BUDGET = 4, 2048
TRAINING_SEED = 900_200
STREAM = 900_001
"""Of the customers on whom settings are compared, in the training range."""
POLICY_SEED = 7

_LETTER: Mapping[str, Any] = {"imagined": 0.0, "reply_weight": 0.0}


def _step(steps: int, kl: float, epochs: int, solver: str = "token-ppo") -> dict[str, Any]:
    names = ("fresh_steps", "fresh_kl_coefficient")
    if solver == "token-grpo":
        names = ("steps", "kl_coefficient")
    return {
        "improvement": {"name": solver, **dict(zip(names, (steps, kl), strict=True))},
        "q_function": {"epochs": epochs},
    }


def _letter(steps: int, kl: float, epochs: int = 4, **settings: float) -> dict[str, Any]:
    step = _step(steps, kl, epochs)
    return {
        "improvement": {**step["improvement"], **settings},
        "q_function": {**step["q_function"], **_LETTER},
        "imitation": {"epochs": 0},
    }


_ON_WHOLE_CONVERSATIONS: Sequence[Mapping[str, Any]] = (
    {"epochs": 2},
    {"epochs": 6},
    {"epochs": 12},
    {"epochs": 6, "learning_rate": 1e-3},
    {"epochs": 1},
    {"epochs": 3},
    {"epochs": 2, "minibatch": 16},
    {"epochs": 2, "gae_lambda": 1.0},
)
GRID: Mapping[str, Sequence[Mapping[str, Any]]] = {
    "expert-iteration": (
        {},
        {"imitation": {"epochs": 4}},
        {"imitation": {"learning_rate": 1e-3}},
        {"earlier": "all"},
        {"imitation": {"epochs": 6}},
        {"imitation": {"epochs": 8}},
        {"imitation": {"epochs": 4, "minibatch": 16}},
        {"imitation": {"epochs": 4}, "earlier": "all"},
    ),
    "iterative-ppo": (
        _step(6, 0.4, 2),
        _step(8, 0.2, 4),
        _step(6, 0.2, 2),
        _step(12, 0.4, 2),
    ),
    "iterative-ppo@letter": (
        _letter(16, 0.2),
        _letter(8, 0.8),
        _letter(16, 0.2, learning_rate=1e-4),
        _letter(8, 0.8, epochs=2),
        _letter(4, 0.8),
        _letter(12, 0.8),
        _letter(8, 1.6),
        _letter(8, 0.8, epochs=8),
    ),
    "iterative-grpo": (
        _step(6, 0.4, 2, "token-grpo"),
        _step(8, 0.2, 4, "token-grpo"),
        {**_step(8, 0.2, 4, "token-grpo"), "imitation": {"epochs": 0}},
        _step(12, 0.4, 2, "token-grpo"),
        _step(16, 0.4, 2, "token-grpo"),
        _step(12, 0.4, 4, "token-grpo"),
        _step(12, 0.8, 2, "token-grpo"),
        _step(12, 0.2, 2, "token-grpo"),
    ),
    "online-ppo": _ON_WHOLE_CONVERSATIONS,
    "turn-level-ppo": _ON_WHOLE_CONVERSATIONS,
    "trajectory-grpo": (
        {"epochs": 2},
        {"epochs": 6},
        {"epochs": 6, "kl_coefficient": 0.0},
        {"epochs": 6, "kl_coefficient": 0.0, "group_size": 4},
        {"epochs": 1},
        {"epochs": 3},
        {"epochs": 2, "minibatch": 16},
        {"epochs": 2, "kl_coefficient": 0.0},
    ),
    "trajectory-rloo": (
        {},
        {"learning_rate": 1e-3},
        {"epochs": 6, "clip": 0.2},
        {"epochs": 6, "clip": 0.2, "group_size": 4},
        {"epochs": 3, "clip": 0.2},
        {"epochs": 4, "clip": 0.2},
        {"epochs": 8, "clip": 0.2},
        {"epochs": 6, "clip": 0.2, "kl_coefficient": 0.0},
    ),
}
"""Settings by family: eight of each. Those of Iterative PPO were tried twice, before and after its
first fit was made longer, which makes eight trainings too."""


def main(
    output: Annotated[Path, typer.Argument(help="New file.")],
    family: Annotated[str, typer.Option(help="Whose settings are tried.")],
    customers: Annotated[int, typer.Option(help="Whom each is judged on.")] = 1000,
    budget: Annotated[int, typer.Option(help="Conversations of each.")] = BUDGET,
    skip: Annotated[int, typer.Option(min=0, help="Settings that were tried before.")] = 0,
) -> None:
    """Train with every setting of a family, print and store what each sells."""
    if family not in GRID:
        raise unknown("family", family, GRID)
    study = Study(
        output,
        family=family,
        rounds=ROUNDS,
        conversations=budget,
        training_seed=TRAINING_SEED,
        customer_stream=STREAM,
        customers=customers,
        policy_seed=POLICY_SEED,
    )
    rows: list[dict[str, Any]] = []
    for settings in GRID[family][skip:]:
        agent = make_agent(family.partition("@")[0], rounds=ROUNDS, **settings)
        started = time.process_time()
        report = agent.train(Collector(budget, seed=TRAINING_SEED))
        seconds = time.process_time() - started
        episodes = rollout(agent, train_seeds(STREAM, customers), policy_seed=POLICY_SEED)
        sold = sum(episode.converted for episode in episodes)
        rate = wilson_interval(sold, len(episodes))
        rows.append(
            {
                "settings": settings,
                "purchases": sold,
                "conversion": rate.value,
                "interval": [rate.low, rate.high],
                "curve": [point.conversion for point in report.curve],
                "processor_seconds": round(seconds, 1),
            }
        )
        show(
            f"{family} {settings}: {100 * rate.value:.1f}%"
            f" [{100 * rate.low:.1f}, {100 * rate.high:.1f}] after {seconds:.0f} CPU seconds"
        )
        study.store(rows=rows)
