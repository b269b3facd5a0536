"""In how many words customers speak: v0's and v1's, side by side.

    convgym study shopper-words FILE.json

The mediocre seller talks to training customers of every shop; in their replies what fills slots
(amounts, names, phrases for needs and features) is masked, so that templates are left. Stored are
the replies, how many templates they were, and the share of the 25 commonest.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import typer

from convgym.benchmarks.studies.study import Study, show
from convgym.rollout import rollout
from convgym.seeds import train_seeds
from convgym.sellers import make_seller
from convgym.shop.catalog import catalog_names, load_catalog
from convgym.shop.templates import mask

SEED, CUSTOMERS, COMMONEST = 2, 2000, 25
LAWS = {"scripted": None, "shopper": "v1"}


def spread(replies: Iterable[str]) -> dict[str, Any]:
    """Return how replies spread over templates."""
    counts = Counter(replies)
    commonest = sum(count for _, count in counts.most_common(COMMONEST))
    total = counts.total()
    return {"replies": total, "templates": len(counts), "share": round(commonest / total, 4)}


def replies(customer: str, shop: str, seeds: list[int]) -> list[str]:
    """Return the masked replies of customers to the mediocre seller."""
    catalog = load_catalog(shop)
    seller = make_seller("mediocre", shop, LAWS[customer])
    environment = {"customer": customer, "catalog": shop}
    episodes = rollout(seller, seeds, environment=environment)
    return [mask(turn.reply, catalog) for episode in episodes for turn in episode.turns]


def measure(path: Path | None, customers: int = CUSTOMERS) -> None:
    """Let them talk, and write what came out."""
    study = Study(path, seed=SEED, customers=customers, commonest=COMMONEST)
    seeds = train_seeds(SEED, customers)
    shops: dict[str, dict[str, Any]] = {}
    for shop in catalog_names():
        shops[shop] = {name: spread(replies(name, shop, seeds)) for name in LAWS}
        show(f"{shop} {shops[shop]}")
    study.store(shops=shops)


def main(output: Annotated[Path | None, typer.Argument(help="New file.")] = None) -> None:
    """Count the templates of v0's and v1's customers."""
    measure(output)
