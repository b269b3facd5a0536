"""How faithful the learned customer is to its original, seller by seller.

    convgym study learned-customer FILE [--sellers competent] [--customers 1000]

Every seller talks to the original and to the imitation of the same customers (same profiles, same
stream of the seller's own randomness), and to the original once more, with other randomness: two
originals do not decide alike either, since buying is chance, and what they agree on is the most
that an imitation can. All customers are of the training range, and none of them was fitted to. The
model says who its original is, and sellers take the form for its customers. What a conversation
costs is counted in seconds of a processor, the seller's share included.

A piece is a seller. Those that are finished are kept in FILE.parts, so that the study goes on where
it was stopped, and ``--sellers`` makes some of them; FILE is written when all are there.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any, cast

import numpy as np
import typer

from convgym.agents.customers.learned import LearnedCustomer, LearnedShopper
from convgym.agents.customers.voice import voice
from convgym.benchmarks.provenance import provenance
from convgym.benchmarks.studies.pieces import OUTPUT, Pieces
from convgym.benchmarks.studies.study import Study, show
from convgym.comparisons import compare
from convgym.conversation import Episode
from convgym.customers import make_customer
from convgym.customers.base import Reply
from convgym.errors import unknown
from convgym.llm.local.devices import Dtype
from convgym.policy import Policy
from convgym.rollout import rollout
from convgym.seeds import train_seeds
from convgym.sellers import make_seller
from convgym.statistics import wilson_interval

CUSTOMER_STREAM, POLICY_SEED = 913_001, 13
AT_ONCE = 64
"""Conversations held together: what large models keep of them has room in memory."""
SELLERS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    **{
        name: (name, {})
        for name in (
            "silent",
            "random",
            "always-closing",
            "careless",
            "mediocre",
            "habitual",
            "competent",
            "oracle",
        )
    },
    "small seller, T=1": ("hf:default", {"temperature": 1.0, "max_tokens": 24}),
    "small seller, T=0.25": ("hf:default", {"temperature": 0.25, "max_tokens": 24}),
}
"""Sellers of the study, by the name that the table gives them."""


class OnceMore:
    """An original with the profile of a seed, and other randomness than that seed's."""

    def __init__(self, original: str, **options: Any) -> None:
        self._customer = cast("Any", make_customer(original, **options))
        self.catalog = self._customer.catalog

    @property
    def fingerprint(self) -> str:
        return f"once-more({self._customer.fingerprint})"

    @property
    def latent(self) -> dict[str, Any]:
        latent: dict[str, Any] = self._customer.latent
        return latent

    def reset(self, seed: int) -> str:
        opening: str = self._customer.reset(seed)
        self._customer.restore(self._customer.snapshot(), seed=seed + 1)
        return opening

    def respond(self, utterance: str) -> Reply:
        reply: Reply = self._customer.respond(utterance)
        return reply


def make_piece(
    seller: Policy, customers: int, model: str, dtype: Dtype = "float32"
) -> dict[str, Any]:
    """Have a seller talk to the original, to it once more, and to its imitation; compare."""
    recipe = voice(model).recipe
    original = recipe["customer"]
    imitation = LearnedCustomer if recipe["law"] is None else LearnedShopper
    held: dict[str, Sequence[Episode]] = {}
    spent: dict[str, float] = {}
    for who, customer in (
        ("original", original),
        ("again", partial(OnceMore, original)),
        ("imitation", partial(imitation, model=model, dtype=dtype)),
    ):
        begun = time.process_time()
        held[who] = _held(seller, customers, customer)
        spent[who] = (time.process_time() - begun) / customers
    return {
        "customers": customers,
        **{
            who: {**_summary(episodes), "cpu_seconds": spent[who]} for who, episodes in held.items()
        },
        "agreement": _agreement(held["original"], held["imitation"]),
        "agreement_again": _agreement(held["original"], held["again"]),
        "difference": _difference(held["imitation"], held["original"]),
    }


def _held(seller: Policy, customers: int, customer: Any) -> list[Episode]:
    return rollout(
        seller,
        train_seeds(CUSTOMER_STREAM, customers),
        environment={"customer": customer, "reveal_latent": True},
        policy_seed=POLICY_SEED,
        batch_size=AT_ONCE,
    )


def _summary(episodes: Sequence[Episode]) -> dict[str, Any]:
    sold = sum(episode.converted for episode in episodes)
    rate = wilson_interval(sold, len(episodes))
    left = sum(episode.outcome == "walk_away" for episode in episodes)
    return {
        "purchases": sold,
        "conversion": rate.value,
        "interval": [rate.low, rate.high],
        "left": left / len(episodes),
        "turns": sum(len(episode.turns) for episode in episodes) / len(episodes),
    }


def _agreement(original: Sequence[Episode], other: Sequence[Episode]) -> dict[str, Any]:
    """Return which share of the original's buyers bought of another, and of the others did not."""
    pairs = [(a.converted, b.converted) for a, b in zip(original, other, strict=True)]

    def share(of: bool) -> list[float] | None:
        same = [b == a for a, b in pairs if a is of]
        if not same:
            return None
        rate = wilson_interval(sum(same), len(same))
        return [rate.value, rate.low, rate.high]

    return {
        "all": sum(a == b for a, b in pairs) / len(pairs),
        "buyers": share(True),
        "others": share(False),
    }


def _difference(imitation: Sequence[Episode], original: Sequence[Episode]) -> list[float]:
    """Return how much more the imitation bought, customer by customer, with its 95% interval."""
    a, b = (np.array([[each.converted for each in held]], float) for held in (imitation, original))
    told = compare(a, b).difference
    return [told.value, told.low, told.high]


def table(pieces: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Yield the lines of the table, shares in percent."""
    yield (
        "| seller | original | imitation | difference | turns | of buyers, bought"
        " | of the others, did not |"
    )
    yield "|---|---|---|---|---|---|---|"
    for piece in pieces:
        original, imitation = piece["original"], piece["imitation"]
        cells = [
            _interval([original["conversion"], *original["interval"]]),
            _interval([imitation["conversion"], *imitation["interval"]]),
            _interval(piece["difference"], signed=True),
            f"{original['turns']:.1f}, {imitation['turns']:.1f}",
            *(
                _both(piece["agreement"][who], piece["agreement_again"][who])
                for who in ("buyers", "others")
            ),
        ]
        yield f"| {piece['seller']} | {' | '.join(cells)} |"


def _interval(three: Sequence[float], signed: bool = False) -> str:
    value, low, high = (f"{100 * number:{'+' if signed else ''}.1f}" for number in three)
    return f"{value} [{low}, {high}]"


def _both(imitation: Sequence[float] | None, again: Sequence[float] | None) -> str:
    return (
        ""
        if imitation is None or again is None
        else (f"{100 * imitation[0]:.1f} ({100 * again[0]:.1f})")
    )


def main(
    output: Annotated[Path, typer.Argument(help=OUTPUT)],
    sellers: Annotated[str, typer.Option(help="Who sells now, with semicolons between.")] = (
        ";".join(SELLERS)
    ),
    customers: Annotated[int, typer.Option(help="Whom each meets.")] = 1000,
    model: Annotated[
        str, typer.Option(help="'default', 'smollm2-shopper', or a folder.")
    ] = "default",
    dtype: Annotated[str, typer.Option(help="How it computes: float32 or bfloat16.")] = "float32",
) -> None:
    """Compare the learned customer with its original, print the table and store it."""
    made_with = provenance()  # of the code that runs, whatever is committed meanwhile
    chosen = sellers.split(";")
    for name in chosen:
        if name not in SELLERS:
            raise unknown("seller of the study", name, SELLERS)
    precision = cast("Dtype", dtype)  # which the voice checks
    speaker = voice(model, dtype=precision)
    recipe = {name: value for name, value in speaker.recipe.items() if name != "leaflet"}
    study = Study(
        output,
        what="How faithful the learned customer is to its original",
        evaluation={"train_seeds_stream": CUSTOMER_STREAM, "customers": customers},
        policy_seed=POLICY_SEED,
        dtype=dtype,
        recipe=recipe,
    )
    settings = {"customers": customers, "model": speaker.digest, "dtype": dtype}
    kept = Pieces(output, settings)
    every = {name: f"{i}-{customers}-{speaker.digest}" for i, name in enumerate(SELLERS)}
    there = kept.read([*every.values()])
    with kept.goes_on():
        for name, key in every.items():
            if name in chosen and key not in there:
                spec, options = SELLERS[name]
                seller = make_seller(spec, recipe["catalog"], recipe["law"], **options)
                piece = {"seller": name, **make_piece(seller, customers, model, precision)}
                there[key] = kept.add(key, {**made_with, **piece})
                show(*list(table([piece]))[2:])
    missing = [name for name, key in every.items() if key not in there]
    if missing:
        show(f"still to be made: {', '.join(missing)}")
        return
    pieces = [there[key] for key in every.values()]
    study.store(pieces=pieces)
    show(*table(pieces))
