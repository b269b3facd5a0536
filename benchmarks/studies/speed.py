"""Turns a second of our customers by rules, side by side with TextArena's step loop.

    convgym study speed [FILE.json]

All sides get the same seller utterances, recorded beforehand, so that only the environments are
timed, each in turn on one core. A customer remembers what words mean, so ours is also measured on
utterances of which none comes twice (their letters' case is shuffled). TextArena takes part if it
is installed (``pip install textarena``): its ``SimpleNegotiation-v0`` is a two-player trading
talk, measured with its default wrapper and raw. One of its steps only passes on a player's
message, whereas one of ours also reads the message and answers it.
"""

from __future__ import annotations

import importlib
import importlib.util
import random
import statistics
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Annotated

import gymnasium
import typer

from convgym.benchmarks.studies.study import Study, show
from convgym.customers import Customer, customer_law
from convgym.customers.scripted.customer import ScriptedCustomer
from convgym.customers.shopper.customer import ShopperCustomer
from convgym.envs.registration import SALES, SALES_V1
from convgym.rollout import rollout
from convgym.seeds import train_seeds
from convgym.sellers import make_seller

Conversations = Mapping[int, list[str]]
"""Episode seed -> the seller's utterances."""

TEXTARENA = ("SimpleNegotiation-v0", "SimpleNegotiation-v0-raw")


def record(conversations: int, env_customer: str = "scripted") -> Conversations:
    """Return what the mediocre seller says to that many customers."""
    environment = {"customer": env_customer}
    seller = make_seller("mediocre", law=customer_law(environment))
    episodes = rollout(seller, train_seeds(0, conversations), environment=environment)
    return {episode.seed: [turn.response.text for turn in episode.turns] for episode in episodes}


def never_twice(recorded: Conversations, rng: random.Random) -> Conversations:
    """Return the same conversations with the letters' case shuffled."""
    return {
        seed: ["".join(rng.choice((c.lower(), c.upper())) for c in text) for text in utterances]
        for seed, utterances in recorded.items()
    }


def customer_turns(recorded: Conversations, make: Callable[[], Customer] = ScriptedCustomer) -> int:
    """Hold the conversations with the customer itself; return the number of turns."""
    customer, turns = make(), 0
    for seed, utterances in recorded.items():
        customer.reset(seed)
        for utterance in utterances:
            customer.respond(utterance)
        turns += len(utterances)
    return turns


def environment_turns(recorded: Conversations, env_id: str = SALES) -> int:
    """Hold them through an environment, observations and info included."""
    env, turns = gymnasium.make(f"convgym:{env_id}"), 0
    for seed, utterances in recorded.items():
        env.reset(options={"episode_seed": seed})
        for utterance in utterances:
            env.step(utterance)
        turns += len(utterances)
    env.close()
    return turns


def textarena_turns(recorded: Conversations, env_id: str) -> int:
    """Say the same things in TextArena; return the number of steps."""
    textarena = importlib.import_module("textarena")

    turns = 0
    for seed, utterances in recorded.items():
        # A new one each time: its default wrapper keeps the observations of earlier games.
        env = textarena.make(env_id)
        env.reset(num_players=2, seed=seed)
        for utterance in utterances:
            env.get_observation()
            done, _ = env.step(utterance)
            turns += 1
            if done:
                break
    return turns


Side = tuple[Callable[[Conversations], int], Callable[[Conversations], Conversations]]
"""What is timed, and what it is given: the recorded conversations made ready, untimed."""


def turns_per_second(
    sides: Mapping[str, Side], recorded: Conversations, rounds: int = 5
) -> dict[str, float]:
    """Return each side's median over ``rounds``, in which the sides take turns."""
    speeds: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(rounds):
        for name, (side, prepare) in sides.items():
            conversations = prepare(recorded)
            started = time.process_time()
            turns = side(conversations)
            speeds[name].append(turns / (time.process_time() - started))
    return {name: statistics.median(values) for name, values in speeds.items()}


def main(output: Annotated[Path | None, typer.Argument(help="New file.")] = None) -> None:
    """Measure, print, and store the figures with commit, versions and machine."""
    study = Study(output)
    new, same = partial(never_twice, rng=random.Random(0)), dict
    sides: dict[str, Side] = {
        "convgym scripted customer": (customer_turns, same),
        "convgym scripted customer, no utterance twice": (customer_turns, new),
        "convgym/Sales-v0": (environment_turns, same),
        "convgym/Sales-v0, no utterance twice": (environment_turns, new),
    }
    if importlib.util.find_spec("textarena"):
        for env_id in TEXTARENA:
            sides[f"TextArena {env_id}"] = (partial(textarena_turns, env_id=env_id), same)
    else:
        show("TextArena is not installed (pip install textarena): convgym alone is measured")
    shoppers = partial(customer_turns, make=ShopperCustomer)
    of_v1: dict[str, Side] = {
        "convgym shopper": (shoppers, same),
        "convgym shopper, no utterance twice": (shoppers, new),
        SALES_V1: (partial(environment_turns, env_id=SALES_V1), same),
    }
    speeds = turns_per_second(sides, record(1000))
    speeds |= turns_per_second(of_v1, record(1000, "shopper"))
    for name, speed in speeds.items():
        show(f"{name:46} {speed:>9,.0f} turns a second on one core")
    study.store(turns_per_second={name: round(speed) for name, speed in speeds.items()})
