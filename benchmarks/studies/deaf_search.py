"""The best script of a seller that never listens, for each shop.

    convgym study deaf-search FOLDER

Every product is tried with one plan, then the best products with every plan (which questions in
which order, how the answers are spread), all on the same customers; the best few are told apart on
more. To the winner a second product and then a third one are added, each offered with a close of
its own after the last refusal. All customers are of the training range. Writes
``FOLDER/scripts.json``: for each shop the finalists with one product, the best first, and the
script with three, each with its sales.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import permutations
from pathlib import Path
from typing import Annotated, Any

import typer

from convgym.benchmarks.studies.study import Study, show
from convgym.rollout import rollout
from convgym.seeds import train_seeds
from convgym.sellers.deaf import ANSWERS, PITCH, Plan, Script, ask
from convgym.sellers.scripted import deaf
from convgym.shop.catalog import Catalog, catalog_names, load_catalog
from convgym.shop.language import TOPICS
from convgym.statistics import wilson_interval

SEED = 0
"""Of the customers, and of what is left to chance in the seller's words."""
SCREENED, CUSTOMERS = 400, 2000
"""Customers for every script, and for the best few."""
PRODUCTS, FINALISTS = 3, 4
"""Products that are tried with every plan, and scripts that meet all customers."""

Sold = tuple[int, Script]
"""To how many a script sells, and the script."""

_CLOSE = ("close",)
_PITCHES: tuple[Plan, ...] = (
    PITCH,
    (("recommend", *ANSWERS[2:]), (*ANSWERS[:2], "close"), _CLOSE),
    (("recommend",), ANSWERS[:2], ANSWERS[2:], _CLOSE),
    (("recommend", *ANSWERS[:2]), _CLOSE),
)


def plans() -> list[Plan]:
    """Return the plans that are tried: every way to ask with every way to pitch."""
    asking = [ask(*topics) for n in (3, 2) for topics in permutations(TOPICS, n)]
    asking.append((tuple(f"ask_{topic}" for topic in TOPICS),))
    return [(*questions, *pitch) for questions in asking for pitch in _PITCHES]


def sales(script: Script, catalog: Catalog, seeds: Sequence[int]) -> int:
    """Return to how many of the customers a script sells."""
    episodes = rollout(
        deaf(catalog, script=script), seeds, environment={"catalog": catalog}, policy_seed=SEED
    )
    return sum(episode.converted for episode in episodes)


def best(scripts: Iterable[Script], catalog: Catalog, seeds: Sequence[int], n: int) -> list[Sold]:
    """Return the ``n`` scripts that sell most, with their sales; of equals the first."""
    counted = [(sales(script, catalog, seeds), script) for script in scripts]
    return sorted(counted, key=lambda pair: -pair[0])[:n]


def search(catalog: Catalog, few: Sequence[int], seeds: Sequence[int]) -> list[Sold]:
    """Return the finalists of one product, screened on ``few``, with their sales to ``seeds``."""
    first = plans()[0]
    products = best(
        (Script((product.name,), first) for product in catalog.products), catalog, few, PRODUCTS
    )
    scripts = [Script(script.products, plan) for _, script in products for plan in plans()]
    finalists = best(scripts, catalog, few, FINALISTS)
    return best((script for _, script in finalists), catalog, seeds, FINALISTS)


def extend(script: Script, catalog: Catalog, few: Sequence[int]) -> Script:
    """Return the script with the further product, offered after the rest, that sells most."""
    *said, last = script.plan
    # A second offer of the same is worth nothing: the new one comes at once.
    again = last == _CLOSE and "close" in said[-1]
    plan = (*(said if again else script.plan), ("recommend", "close"))
    names = [product.name for product in catalog.products if product.name not in script.products]
    ((_, extended),) = best((Script((*script.products, n), plan) for n in names), catalog, few, 1)
    return extended


def row(sold: int, script: Script, customers: int) -> dict[str, Any]:
    """Return a script and its conversion as plain data."""
    rate = wilson_interval(sold, customers)
    return {
        "products": list(script.products),
        "plan": [list(acts) for acts in script.plan],
        "sales": sold,
        "conversion": [round(value, 4) for value in (rate.value, rate.low, rate.high)],
    }


def measure(
    folder: Path,
    shops: Sequence[str] | None = None,
    screened: int = SCREENED,
    customers: int = CUSTOMERS,
) -> None:
    """Search in every shop and write what came out."""
    study = Study(folder / "scripts.json", customers=customers, screened=screened, seed=SEED)
    seeds = train_seeds(SEED, max(screened, customers))
    few, seeds = seeds[:screened], seeds[:customers]
    results: dict[str, Any] = {}
    for shop in catalog_names() if shops is None else shops:
        catalog = load_catalog(shop)
        finalists = search(catalog, few, seeds)
        three = finalists[0][1]
        for _ in range(2):
            three = extend(three, catalog, few)
        results[shop] = {
            "one_product": [row(sold, script, customers) for sold, script in finalists],
            "three_products": row(sales(three, catalog, seeds), three, customers),
        }
        show(f"{shop} {results[shop]}")
    study.store(shops=results)


def main(
    folder: Annotated[Path, typer.Argument(help="Folder to write; never overwritten.")],
) -> None:
    """Search for the best script of a seller that never listens."""
    measure(folder)
