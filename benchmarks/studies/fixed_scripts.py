"""What a seller of ``convgym/Sales-v1`` sells that never listens: the best script for each shop.

    convgym study fixed-scripts FOLDER

A script is a list of utterances, each of one to three dialogue acts of the reference sellers', said
in order whatever the shopper says, the last of them for ever. Hill climbing changes, adds, drops
and swaps utterances, from a plan with all questions and from products drawn at random, again and
again until ``SCRIPTS`` were tried; a script is kept if it sells no less to the same customers. The
best of every climb are told apart on more customers. All customers are of the training range.
Writes ``FOLDER/<shop>.json`` for each shop; a shop whose file is there is not searched again.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from convgym.benchmarks.studies.study import Study, show
from convgym.customers.base import Decision
from convgym.customers.shopper.customer import ShopperCustomer
from convgym.seeds import train_seeds
from convgym.sellers.listening import PHRASES, Act, ShopperKnowledge
from convgym.sellers.script import Script, to_rows, utterances
from convgym.shop.catalog import Catalog, catalog_names, load_catalog
from convgym.statistics import wilson_interval

SEED = 0
SCRIPTS, PATIENCE = 1000, 120
"""Scripts that are tried in a shop; and for how many a climb goes on without selling more."""
SCREENED, CUSTOMERS, FINALISTS = 200, 2000, 3
"""Customers for every script and for the best few, and how many those are."""
MAX_TURNS = 12

_ABOUT_PRODUCTS = frozenset(("recommend", "tell_yes", "tell_no", "tell_delivery", "tell_compare"))
_KINDS = tuple(kind for kind in PHRASES if kind not in ("silence", "chat", "push"))


def _act(rng: random.Random, catalog: Catalog) -> Act:
    kind = rng.choice(_KINDS)
    product = rng.choice(catalog.products) if kind in _ABOUT_PRODUCTS else None
    return Act(kind, product, rng.choice((3, 6, 9, 12)) if kind == "answer_price" else 0)


def _utterance(rng: random.Random, catalog: Catalog) -> tuple[Act, ...]:
    return tuple(_act(rng, catalog) for _ in range(rng.choice((1, 1, 1, 2, 2, 3))))


def first(rng: random.Random, catalog: Catalog) -> Script:
    """Return a script to climb from: all questions, and two products drawn at random."""
    product, other = rng.sample(catalog.products, 2)
    return (
        (Act("ask_need"),),
        (Act("ask_feature"),),
        (Act("ask_budget"),),
        (Act("recommend", product), Act("ask_concern")),
        (Act("tell_yes", product), Act("answer_warranty")),
        (Act("answer_price", None, 9), Act("close")),
        (Act("close"),),
        (Act("recommend", other), Act("close")),
    )


def change(script: Script, rng: random.Random, catalog: Catalog) -> Script:
    """Return the script with one to three changes."""
    said = list(script)
    for _ in range(rng.choice((1, 1, 2, 3))):
        way, place = rng.random(), rng.randrange(len(said))
        if way < 0.3:
            said[place] = _utterance(rng, catalog)
        elif way < 0.5:
            said.insert(place, _utterance(rng, catalog))
        elif way < 0.65 and len(said) > 3:
            del said[place]
        elif way < 0.8:
            acts = list(said[place])
            acts[rng.randrange(len(acts))] = _act(rng, catalog)
            said[place] = tuple(acts)
        elif way < 0.9:
            other = rng.randrange(len(said))
            said[place], said[other] = said[other], said[place]
        else:
            old, new = rng.choice(catalog.products), rng.choice(catalog.products)
            said = [
                tuple(act._replace(product=new) if act.product == old else act for act in acts)
                for acts in said
            ]
    return tuple(said[:MAX_TURNS])


class Shop:
    """Counts what scripts sell in a shop."""

    def __init__(self, catalog: Catalog) -> None:
        self.catalog = catalog
        self._knowledge = ShopperKnowledge(catalog)
        self._customer = ShopperCustomer(catalog=catalog)

    def sales(self, script: Script, seeds: Sequence[int]) -> int:
        """Return to how many of the customers a script sells."""
        texts = utterances(script, self._knowledge)
        return sum(self._sells(texts, seed) for seed in seeds)

    def _sells(self, texts: Sequence[str], seed: int) -> bool:
        self._customer.reset(seed)
        for turn in range(MAX_TURNS):
            reply = self._customer.respond(texts[min(turn, len(texts) - 1)])
            if reply.decision is not Decision.CONTINUE:
                return reply.decision is Decision.BUY
        return False


def climb(
    shop: Shop, seeds: Sequence[int], scripts: int, rng: random.Random
) -> list[tuple[int, Script]]:
    """Return the best script of every climb, with its sales to ``seeds``; the best first."""
    summits: list[tuple[int, Script]] = []
    tried = 0
    while tried < scripts:
        script = first(rng, shop.catalog)
        sold, stale = shop.sales(script, seeds), 0
        tried += 1
        while stale < PATIENCE and tried < scripts:
            changed = change(script, rng, shop.catalog)
            sells = shop.sales(changed, seeds)
            tried += 1
            stale = 0 if sells > sold else stale + 1
            if sells >= sold:
                sold, script = sells, changed
        summits.append((sold, script))
    return sorted(summits, key=lambda summit: -summit[0])


def measure(
    path: Path,
    shop: str,
    scripts: int = SCRIPTS,
    screened: int = SCREENED,
    customers: int = CUSTOMERS,
) -> None:
    """Search in one shop and write what came out."""
    study = Study(path, customers=customers, screened=screened, scripts=scripts, seed=SEED)
    place = Shop(load_catalog(shop))
    seeds = train_seeds(SEED, customers)
    summits = climb(place, seeds[:screened], scripts, random.Random(SEED))
    rows: list[dict[str, Any]] = []
    for _, script in summits[:FINALISTS]:
        sold = place.sales(script, seeds)
        rate = wilson_interval(sold, customers)
        conversion = [round(value, 4) for value in (rate.value, rate.low, rate.high)]
        rows.append({"script": to_rows(script), "sales": sold, "conversion": conversion})
    rows.sort(key=lambda row: -row["sales"])
    fingerprint = ShopperCustomer(catalog=shop).fingerprint
    study.store(shops={shop: {"customer": fingerprint, "finalists": rows}})
    show(f"{shop}: {rows[0]['conversion']}")


def main(
    folder: Annotated[Path, typer.Argument(help="Folder to write; what is there is kept.")],
    shop: Annotated[list[str] | None, typer.Option(help="Search in this shop alone.")] = None,
) -> None:
    """Search for the best script of a seller that never listens to a shopper."""
    for name in shop or catalog_names():
        path = folder / f"{name}.json"
        if path.exists():
            show(f"{name} is there already")
        else:
            measure(path, name)
