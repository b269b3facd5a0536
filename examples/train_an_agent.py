"""Online PPO teaches the small seller, measured on customers that it never trained with.

Run it with ``python examples/train_an_agent.py``, which takes about a minute, or with a larger
budget, for example ``--conversations 8000``. It needs ``pip install -e '.[train]'``. For
comparisons that count, with several seeds and equal budgets, use ``convgym bench``.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from convgym.agents import Agent, Collector, Progress, make_agent
from convgym.rollout import rollout
from convgym.seeds import evaluation_seeds
from convgym.statistics import wilson_interval


def evaluate(agent: Agent, customers: int) -> str:
    """Return the conversion rate on evaluation customers with its interval, in words."""
    episodes = rollout(agent, evaluation_seeds(0, customers))
    counted = [episode for episode in episodes if episode.valid]
    rate = wilson_interval(sum(episode.converted for episode in counted), len(counted))
    return (
        f"conversion {rate.value:.1%}, 95% interval {rate.low:.1%} to {rate.high:.1%},"
        f" {len(counted)} customers"
    )


def show(progress: Progress) -> None:
    """Print how training goes."""
    print(
        f"  {progress.done} of {progress.total} conversations,"
        f" the last batch converted {progress.metrics['conversion']:.1%}",
        flush=True,
    )


def main() -> None:
    """Evaluate, train, evaluate."""
    parser = argparse.ArgumentParser(description="Train a seller with online PPO.")
    parser.add_argument("--conversations", type=int, default=512, help="the training budget")
    parser.add_argument("--customers", type=int, default=300, help="evaluation customers")
    parser.add_argument("--seed", type=int, default=0, help="everything random follows from it")
    parser.add_argument("--save", type=Path, help="folder for the trained model")
    options = parser.parse_args()
    # Read when torch is loaded: threads that wait sleep, which keeps a shared machine quick.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

    agent = make_agent("online-ppo")
    print(f"before: {evaluate(agent, options.customers)}", flush=True)
    usage = agent.train(Collector(options.conversations, seed=options.seed), progress=show).usage
    print(f"after:  {evaluate(agent, options.customers)}")
    print(f"training used {usage.conversations} conversations, deployments: {usage.deployments}")
    if options.save:
        agent.save(options.save)
        print(f"talk to it with: convgym chat --seller {options.save}")


if __name__ == "__main__":
    main()
