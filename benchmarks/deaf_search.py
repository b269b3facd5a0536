"""The best script of a seller that never listens, for each shop.

    python -m convgym.benchmarks.deaf_search FOLDER

Every product is tried with one plan, then the best products with every plan (which questions in
which order, how the answers are spread), all on the same customers; the best few are told apart on
more. All customers are of the training range. Writes ``FOLDER/scripts.json``: for each shop the
script that sells most, to how many, and the runners-up.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from itertools import permutations
from pathlib import Path
from typing import Any

from convgym.benchmarks.manifest import provenance
from convgym.benchmarks.results import write_atomically
from convgym.benchmarks.statistics import wilson_interval
from convgym.catalog import Catalog, catalog_names, load_catalog
from convgym.deaf import ALL_ANSWERS, ONE_BY_ONE, PLAN, Plan, Script
from convgym.rollout import rollout
from convgym.seeds import train_seeds
from convgym.sellers import deaf_seller

SEED = 0
"""Of the customers."""
SCREENED, CUSTOMERS = 400, 2000
"""Customers for every script, and for the best few."""
PRODUCTS, FINALISTS = 3, 4
"""Products that are tried with every plan, and scripts that meet all customers."""

_CLOSE = ("close",)
_PITCHES: tuple[Plan, ...] = (
    (("recommend", *ALL_ANSWERS[:2]), (*ALL_ANSWERS[2:], "close"), _CLOSE),
    (("recommend", *ALL_ANSWERS[2:]), (*ALL_ANSWERS[:2], "close"), _CLOSE),
    (("recommend", *ALL_ANSWERS[:2]), ALL_ANSWERS[2:], _CLOSE),
    (("recommend",), ALL_ANSWERS[:2], ALL_ANSWERS[2:], _CLOSE),
    (("recommend",), ALL_ANSWERS[:3], (ALL_ANSWERS[3], "close"), _CLOSE),
    (("recommend", *ALL_ANSWERS[:2]), _CLOSE),
    (("recommend",), _CLOSE),
)


def plans() -> list[Plan]:
    """Return the plans that are tried: every way to ask with every way to pitch."""
    together = tuple(kind for (kind,) in ONE_BY_ONE)
    asking: list[Plan] = [*permutations(ONE_BY_ONE), *permutations(ONE_BY_ONE, 2)]
    asking += [(together,), (together[:2], together[2:])]
    return [(*questions, *pitch) for questions in asking for pitch in _PITCHES]


def sales(script: Script, catalog: Catalog, seeds: Sequence[int]) -> int:
    """Return to how many of the customers a script sells."""
    episodes = rollout(
        deaf_seller(script, catalog), seeds, environment={"catalog": catalog}, policy_seed=SEED
    )
    return sum(episode.converted for episode in episodes)


def best(
    scripts: Iterable[Script], catalog: Catalog, seeds: Sequence[int], n: int
) -> list[tuple[int, Script]]:
    """Return the ``n`` scripts that sell most, with their sales; of equals the first."""
    found = [(sales(script, catalog, seeds), script) for script in scripts]
    return sorted(found, key=lambda pair: -pair[0])[:n]


def search(
    catalog: Catalog, screened: int = SCREENED, customers: int = CUSTOMERS
) -> list[tuple[int, Script]]:
    """Return the finalists for a shop, the best first, with their sales to ``customers``."""
    seeds = train_seeds(SEED, max(screened, customers))
    few, all_seeds = seeds[:screened], seeds[:customers]
    names = [product.name for product in catalog.products]
    products = best((Script(name, PLAN) for name in names), catalog, few, PRODUCTS)
    scripts = [Script(script.product, plan) for _, script in products for plan in plans()]
    finalists = best(scripts, catalog, few, FINALISTS)
    return best((script for _, script in finalists), catalog, all_seeds, FINALISTS)


def row(sold: int, script: Script, customers: int) -> dict[str, Any]:
    """Return a script and its conversion as plain data."""
    rate = wilson_interval(sold, customers)
    return {
        "product": script.product,
        "plan": [list(acts) for acts in script.plan],
        "sales": sold,
        "conversion": [round(value, 4) for value in (rate.value, rate.low, rate.high)],
    }


def main(folder: Path, shops: Sequence[str] | None = None, **sizes: int) -> None:
    """Search in every shop and write what came out."""
    customers = sizes.get("customers", CUSTOMERS)
    made_with = provenance()
    found = {}
    for shop in catalog_names() if shops is None else shops:
        finalists = search(load_catalog(shop), **sizes)
        found[shop] = [row(sold, script, customers) for sold, script in finalists]
        print(shop, found[shop][0])
    folder.mkdir(parents=True, exist_ok=True)
    result = {"customers": customers, "seed": SEED, "shops": found, **made_with}
    write_atomically(folder / "scripts.json", json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
