"""Hundreds of conversations at once in a vector environment, and how many end in a purchase.

Run it with ``python examples/vectorised.py``. A policy as a whole is measured more simply with
``convgym.rollout.rollout``; this is for those who want each step in their own hands.
"""

from __future__ import annotations

import random

import gymnasium
import numpy as np

from convgym.policy import Conversation
from convgym.seeds import evaluation_seeds
from convgym.sellers import make_seller
from convgym.statistics import wilson_interval

N = 500


def main() -> None:
    """Let the competent seller talk to ``N`` evaluation customers."""
    # "Disabled": a conversation that has ended stands still until the others have ended too.
    env = gymnasium.make_vec("convgym/Sales-v0", num_envs=N, autoreset_mode="Disabled")
    seeds = evaluation_seeds(0, N)
    _, infos = env.reset(options={"episode_seed": seeds})
    seller = make_seller("competent")
    conversations = [
        Conversation(seed, messages, random.Random(seed))
        for seed, messages in zip(seeds, infos["messages"], strict=True)
    ]

    sales = np.zeros(N, dtype=np.bool_)
    over = np.zeros(N, dtype=np.bool_)
    steps = 0
    while not over.all():
        live = np.flatnonzero(~over)
        actions = [""] * N
        for i, response in zip(live, seller.act([conversations[i] for i in live]), strict=True):
            actions[i] = response.text
        _, rewards, terminations, truncations, infos = env.step(tuple(actions))
        for i in live:
            conversations[i].messages = infos["messages"][i]
        sales |= rewards > 0
        over = terminations | truncations
        steps += 1
    env.close()

    rate = wilson_interval(int(sales.sum()), N)
    print(f"{N} conversations in {steps} steps with the {seller.name} seller")
    print(f"conversion {rate.value:.1%}, 95% interval {rate.low:.1%} to {rate.high:.1%}")


if __name__ == "__main__":
    main()
