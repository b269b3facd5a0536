"""How often intervals of paired differences cover the truth, and how wide they are.

    convgym study comparison-coverage [FILE.json]

Simulated experiments in which two agents are equally good, so that an interval covers if it holds
0. Customers are drawn anew in each, and so are the training seeds of both agents. Three ways to
make the interval see the same experiments: ``convgym.comparisons.compare``; the percentiles of
resampled seeds and customers; and ``convgym.statistics.difference`` of the agents' own intervals,
which forgets that both met the same customers. No customer of the environment appears.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from convgym.benchmarks.studies.study import Study, show
from convgym.comparisons import compare
from convgym.statistics import Array, Estimate, difference, seeds_interval

SEED = 1
CUSTOMERS = 500
RESAMPLES = 200
SETTINGS = ((3, 0.02), (3, 0.05), (5, 0.0), (5, 0.02), (5, 0.05))
"""Training seeds of either agent, and the standard deviation of their skill."""


def experiment(
    generator: np.random.Generator, seeds: int, customers: int, spread: float
) -> tuple[Array, Array]:
    """Return who bought of two agents that are equally good, (S, C) seeds by customers each.

    A customer is easy or not for both, and likes one agent better than the other; a training seed
    ends more or less skilled.
    """
    ease = generator.beta(0.75, 0.25, customers)

    def sold() -> Array:
        taste = generator.normal(0, 0.1, customers)
        skill = generator.normal(0, spread, (seeds, 1))
        chance = 0.8 * ease + 0.1 + taste + skill
        return (generator.random((seeds, customers)) < chance).astype(float)

    return sold(), sold()


def paired(a: Array, b: Array) -> Estimate:
    """Return the difference as the benchmark reports it."""
    return compare(a, b).difference


def unpaired(a: Array, b: Array) -> Estimate:
    """Return the difference of the two agents' own intervals."""
    n = a.shape[1]
    return difference(*(seeds_interval([int(k) for k in t.sum(1)], [n] * len(t)) for t in (a, b)))


def resampled(generator: np.random.Generator, a: Array, b: Array) -> Estimate:
    """Return the difference between percentiles of resampled seeds and customers."""
    customers = _shares(generator, a.shape[1])
    first, second = (
        ((_shares(generator, len(table)) @ table) * customers).sum(1) for table in (a, b)
    )
    low, high = np.quantile(first - second, [0.025, 0.975])
    return Estimate(float(a.mean() - b.mean()), float(low), float(high))


def _shares(generator: np.random.Generator, n: int) -> Array:
    """Return how much of each resample, (RESAMPLES, n), each of ``n`` makes up."""
    return generator.multinomial(n, np.full(n, 1 / n), size=RESAMPLES) / n


def coverage(
    seeds: int, spread: float, experiments: int, customers: int = CUSTOMERS, seed: int = SEED
) -> dict[str, dict[str, float]]:
    """Return, by way, in what share of experiments its 95% interval holds 0, and its half width."""
    drawn, resampling = (np.random.default_rng((seed, stream)) for stream in (0, 1))
    ways: Mapping[str, Callable[[Array, Array], Estimate]] = {
        "paired": paired,
        "resampled": lambda a, b: resampled(resampling, a, b),
        "unpaired": unpaired,
    }
    found: dict[str, list[Estimate]] = {name: [] for name in ways}
    for _ in range(experiments):
        a, b = experiment(drawn, seeds, customers, spread)
        for name, interval in ways.items():
            found[name].append(interval(a, b))
    return {
        name: {
            "covered": sum(each.low <= 0 <= each.high for each in estimates) / experiments,
            "half_width": float(np.mean([each.high - each.low for each in estimates])) / 2,
        }
        for name, estimates in found.items()
    }


def main(
    output: Annotated[Path | None, typer.Argument(help="New file.")] = None,
    experiments: Annotated[int, typer.Option(help="Of each setting.")] = 2000,
) -> None:
    """Simulate, print, and store coverage and width with commit and versions."""
    study = Study(
        output, seed=SEED, experiments=experiments, customers=CUSTOMERS, resamples=RESAMPLES
    )
    rows: list[dict[str, Any]] = []
    for seeds, spread in SETTINGS:
        ways = coverage(seeds, spread, experiments)
        rows.append({"training_seeds": seeds, "spread": spread, **ways})
        told = ", ".join(
            f"{name} {100 * way['covered']:.1f}% at {100 * way['half_width']:.1f}%"
            for name, way in ways.items()
        )
        show(f"{seeds} training seeds, spread {100 * spread:.0f}%: {told}")
    study.store(rows=rows)
