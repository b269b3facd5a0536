"""Do buyers and non-buyers each behave as those they stand for?

Simulated customers were found to reproduce people who buy, and to push people who do not buy
towards buying (arXiv 2606.20708); the mean of both hides it. So both are told apart by what the
*standard* did: the original's conversation with the same seller, or the outcome in people's log.

Beside a customer that imitates an original stands the original itself, met again with other chance:
how far a perfect imitation would be from the first meeting.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from statistics import fmean
from typing import Any

from convgym.benchmarks.validation.realism.bootstrap import mean_of, share_of
from convgym.benchmarks.validation.realism.figures import (
    Figure,
    Unit,
    all_beside,
    figure,
    not_measured,
)
from convgym.benchmarks.validation.realism.stages import NAMES, Stage, is_read, stages
from convgym.conversation import Episode
from convgym.statistics import difference, wilson_interval

Pairs = Sequence[tuple[Episode, Episode]]
"""The original's conversation and the other's with the same customer and seller."""

Clusters = Sequence[Sequence[Episode]]

GROUPS = {True: "buyers", False: "non-buyers"}

FEWEST = 10
"""Conversations of a group in a reference, below which nothing is said of the group."""


def stage_figures(clusters: Clusters, reference: Clusters | None) -> tuple[Figure, ...]:
    """Return the stages of the replies of buyers and of non-buyers, a reference's beside them."""
    own = _by_group(clusters)
    return all_beside(own, None if reference is None else _by_group(reference, FEWEST))


def _by_group(clusters: Clusters, fewest: int = 1) -> list[Figure]:
    figures = [_conversion(clusters)]
    for bought, group in GROUPS.items():
        chosen = [
            [episode for episode in cluster if episode.converted == bought and is_read(episode)]
            for cluster in clusters
        ]
        read = [
            [stage for episode in cluster for stage in stages(episode)]
            for cluster in chosen
            if cluster
        ]
        figures += _of_replies(group, [stages for stages in read if stages], fewest)
    return figures


def _conversion(clusters: Clusters) -> Figure:
    bought = [sum(episode.converted for episode in cluster) for cluster in clusters]
    talks = [len(cluster) for cluster in clusters]
    return figure("conversations that end in a purchase", share_of(bought, talks), sum(talks),
                  "conversations")  # fmt: skip


def _of_replies(group: str, read: Sequence[Sequence[Stage]], fewest: int) -> list[Figure]:
    names = [f"{group}: replies that {NAMES[stage]}" for stage in Stage]
    depth = f"{group}: mean stage, 0 to 4"
    if len(read) < fewest:
        why = (
            f"{len(read)} of them can be read, {fewest} are the fewest" if read else "none is read"
        )
        return [not_measured(name, why) for name in (*names, depth)]
    sizes, n = [len(told) for told in read], sum(map(len, read))
    shares = [
        figure(name, share_of([told.count(stage) for told in read], sizes), n, "replies")
        for name, stage in zip(names, Stage, strict=True)
    ]
    return [*shares, figure(depth, mean_of([sum(told) for told in read], sizes), n, "replies",
                            "stages")]  # fmt: skip


SAME = "customers whose need, feature and budget are the original's"
_PERSON = ("need", "feature", "budget")


def same_people(pairs: Sequence[tuple[Mapping[str, Any], Mapping[str, Any]]]) -> Figure:
    """Return how many customers are who the original's are, by both hidden states at the start."""
    known = [
        ([a[name] for name in _PERSON], [b[name] for name in _PERSON])
        for a, b in pairs
        if all(name in state for name in _PERSON for state in (a, b))
    ]
    if not known:
        return not_measured(SAME, "one of the two hidden states does not tell them")
    equal = sum(a == b for a, b in known)
    return figure(SAME, wilson_interval(equal, len(known)), len(known), "customers")


def against_original(
    pairs: Sequence[Pairs], again: Sequence[Pairs] | None, why: str = ""
) -> tuple[Figure, ...]:
    """Return how far a customer is from its original, for the original's buyers and non-buyers.

    Args:
        pairs: by customer, the original's conversations with the sellers, each with the
            imitation's.
        again: likewise with the original's own, met again with other chance; None where that
            cannot be.
        why: why not.
    """
    own = _both_apart(pairs)
    if again is None:
        note = f"what a perfect imitation reaches is not known: {why}"
        return tuple(each if each.estimate is None else replace(each, why=note) for each in own)
    return all_beside(own, _both_apart(again))


def _both_apart(pairs: Sequence[Pairs]) -> list[Figure]:
    buyers, others = (_apart(pairs, bought) for bought in GROUPS)
    (a, b), name = (others[-1], buyers[-1]), "non-buyers' depth bias less buyers'"
    if a.estimate is None or b.estimate is None:
        return [*buyers, *others, not_measured(name, "one of the two groups is empty")]
    contrast = figure(name, difference(a.estimate, b.estimate), a.n + b.n, "conversations",
                      "stages")  # fmt: skip
    return [*buyers, *others, contrast]


def _share_of(stage: Stage) -> Callable[[Sequence[Stage]], float]:
    return lambda told: told.count(stage) / len(told)


def _apart(pairs: Sequence[Pairs], bought: bool) -> list[Figure]:
    """Return an imitation's decisions and stages less the original's, of one group."""
    group = GROUPS[bought]
    chosen = [[pair for pair in each if pair[0].converted == bought] for each in pairs]
    chosen = [each for each in chosen if each]
    n, sizes = sum(map(len, chosen)), [len(each) for each in chosen]

    def shares(holds: str) -> list[int]:
        return [sum(other.outcome == holds for _, other in each) for each in chosen]

    figures = [
        figure(f"{group}: buy here too" if bought else f"{group}: buy here",
               share_of(shares("purchase"), sizes), n, "conversations"),
        figure(f"{group}: walk away", share_of(shares("walk_away"), sizes), n, "conversations"),
    ]  # fmt: skip
    read = [
        [(stages(first), stages(other)) for first, other in each if is_read(first)]
        for each in chosen
    ]
    both = [[pair for pair in each if all(pair)] for each in read]
    both = [each for each in both if each]
    m, talks = sum(map(len, both)), [len(each) for each in both]
    values = [(f"{group}: {NAMES[stage]}, bias", _share_of(stage)) for stage in Stage]
    for name, value in (*values, (f"{group}: depth bias", fmean)):
        bias = [sum(value(other) - value(first) for first, other in each) for each in both]
        unit: Unit = "stages" if value is fmean else "%"
        span = 4.0 if value is fmean else 1.0
        figures.append(figure(name, mean_of(bias, talks, span), m, "conversations", unit))
    return figures
