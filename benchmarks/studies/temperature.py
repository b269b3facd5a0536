"""What colder sampling alone is worth: one policy, nothing learned, at several temperatures.

    convgym study temperature [FILE.json] [--policy default] [--policy FOLDER] [--seed 7]

A policy that imitates a seller whose faults are noise, and not habits, has its best words as its
likeliest ones: sampled more coldly it sells more without having learned anything. Whatever
training gains at one temperature is to be read beside that. All meet the same customers.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from convgym.agents.model.config import PolicyConfig
from convgym.agents.model.policy import LanguageModelPolicy
from convgym.benchmarks.studies.study import Study, show
from convgym.rollout import rollout
from convgym.seeds import evaluation_seeds
from convgym.statistics import wilson_interval

TEMPERATURES = (1.0, 0.7, 0.5, 0.25, 0.05)
POLICY_SEED = 11


def main(
    output: Annotated[Path | None, typer.Argument(help="New file.")] = None,
    policy: Annotated[
        list[str] | None, typer.Option(help="'default' or a folder; may be repeated.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the evaluation customers.")] = 7,
    customers: Annotated[int, typer.Option(help="How many.")] = 2000,
    catalog: Annotated[str, typer.Option(help="The shop.")] = "laptops",
    personas: Annotated[str, typer.Option(help="The population.")] = "default",
) -> None:
    """Measure, print, and store the rates with commit and versions."""
    policies = policy or ["default"]
    study = Study(
        output,
        evaluation_seed=seed,
        customers=customers,
        environment={"catalog": catalog, "personas": personas},
        policy_seed=POLICY_SEED,
    )
    environment = {"catalog": catalog, "personas": personas}
    rows = []
    for name in policies:
        for temperature in TEMPERATURES:
            config = PolicyConfig(temperature=temperature)
            seller = LanguageModelPolicy.from_pretrained(name, config=config)
            episodes = rollout(
                seller,
                evaluation_seeds(seed, customers),
                environment=environment,
                policy_seed=POLICY_SEED,
            )
            sold = sum(episode.converted for episode in episodes)
            rate = wilson_interval(sold, len(episodes))
            rows.append(
                {
                    "policy": Path(name).name,
                    "temperature": temperature,
                    "purchases": sold,
                    "customers": len(episodes),
                    "conversion": rate.value,
                    "interval": [rate.low, rate.high],
                }
            )
            show(
                f"{Path(name).name} at temperature {temperature}: {100 * rate.value:.1f}%"
                f" [{100 * rate.low:.1f}, {100 * rate.high:.1f}]"
            )
            study.store(rows=rows)
