"""How many evaluation customers want what some training customer wanted.

    convgym study familiar-customers [FILE.json] [--seed 9] [--training-seed 45]

Evaluation customers have seeds that no training draws, and yet nearly all of them come with a need,
a feature and a budget with which somebody came in training: a shop has few of these. What is drawn
anew is temper and chance. So a rate on them says how an agent sells to the customers of its shop,
and not how it sells to customers of another kind. No conversation is held.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from convgym.benchmarks.studies.study import Study, show
from convgym.customers.profile import Profile
from convgym.customers.scripted.customer import ScriptedCustomer
from convgym.seeds import evaluation_seeds, train_seeds
from convgym.shop.catalog import catalog_names
from convgym.statistics import wilson_interval

POPULATIONS = ("default", "difficult")
ALIKE: Mapping[str, Callable[[Profile], tuple[Any, ...]]] = {
    "need and feature": lambda who: (who.need, who.feature),
    "need, feature and budget": lambda who: (who.need, who.feature, who.budget),
    "these and persona": lambda who: (who.need, who.feature, who.budget, who.persona),
    "these, persona and objections": lambda who: (
        who.need,
        who.feature,
        who.budget,
        who.persona,
        frozenset(who.objections),
    ),
}
"""In what an evaluation customer is like a training customer, more of it in each row."""


def profiles(customer: ScriptedCustomer, seeds: Sequence[int]) -> list[Profile]:
    """Return who comes in under these seeds."""
    drawn = []
    for seed in seeds:
        customer.reset(seed)
        drawn.append(customer.profile)
    return drawn


def familiar(training: Sequence[Profile], evaluation: Sequence[Profile]) -> dict[str, list[float]]:
    """Return, for each kind of likeness, the share of evaluation customers like some training one.

    A share is [share, low, high], with Wilson's 95% interval.
    """
    shares = {}
    for name, likeness in ALIKE.items():
        known = {likeness(profile) for profile in training}
        rate = wilson_interval(
            sum(likeness(profile) in known for profile in evaluation), len(evaluation)
        )
        shares[name] = [rate.value, rate.low, rate.high]
    return shares


def main(
    output: Annotated[Path | None, typer.Argument(help="New file.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the evaluation customers.")] = 9,
    customers: Annotated[int, typer.Option(min=1, help="Of the evaluation.")] = 2000,
    training_seed: Annotated[int, typer.Option(min=0, help="Of the training.")] = 45,
    conversations: Annotated[int, typer.Option(min=1, help="Of the training.")] = 4096,
) -> None:
    """Count, print and store the shares with commit and versions."""
    study = Study(
        output,
        evaluation_seed=seed,
        customers=customers,
        training_seed=training_seed,
        conversations=conversations,
    )
    rows = []
    for shop in catalog_names():
        for population in POPULATIONS:
            customer = ScriptedCustomer(shop, personas=population)
            shares = familiar(
                profiles(customer, train_seeds(training_seed, conversations)),
                profiles(customer, evaluation_seeds(seed, customers)),
            )
            rows.append({"catalog": shop, "personas": population, "shares": shares})
            show(
                f"{shop}, {population}: "
                + ", ".join(f"{name} {100 * share[0]:.1f}%" for name, share in shares.items())
            )
    study.store(rows=rows)
