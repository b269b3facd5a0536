"""Does the customer mind a seller that is bad on purpose?

arXiv 2602.16938 had people talk with a good and with a deliberately bad recommender and asks of a
simulator whether it reacts to the bad one as they did: a simulator that was made with good ones
alone may be polite to anybody. The same customers meet both here, so that differences are taken
customer by customer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import fmean

from convgym.benchmarks.validation.realism.bootstrap import mean_of, share_of
from convgym.benchmarks.validation.realism.figures import ABOVE, BELOW, Figure, Unit, figure
from convgym.benchmarks.validation.realism.stages import Stage, is_read, stages
from convgym.conversation import Episode

Pair = tuple[Episode, Episode]
"""One customer's conversation with the good seller and with the bad one."""


def reaction(pairs: Sequence[Pair]) -> tuple[Figure, ...]:
    """Return what changes when the seller is bad, customer by customer."""
    spoken = [pair for pair in pairs if all(stages(e) and is_read(e) for e in pair)]
    low = (Stage.LEAVES, Stage.RESISTS)

    def negative(episode: Episode) -> float:
        told = stages(episode)
        return sum(stage in low for stage in told) / len(told)

    def change(
        name: str,
        of: Callable[[Episode], float],
        chosen: Sequence[Pair],
        unit: Unit = "%",
        least: float | None = None,
        most: float | None = None,
    ) -> Figure:
        changes = [of(bad) - of(good) for good, bad in chosen]
        estimate = mean_of(changes, [1.0] * len(changes), 4.0 if unit == "stages" else 1.0)
        return figure(name, estimate, len(chosen), "customers", unit, least=least, most=most)

    bad = [other for _, other in pairs]
    left = [episode.outcome == "walk_away" for episode in bad]
    return (
        change("purchases, bad less good seller", lambda e: float(e.converted), pairs,
               most=BELOW),
        change("walk-aways, bad less good seller", lambda e: float(e.outcome == "walk_away"), pairs,
               least=ABOVE),
        change("replies that resist or take leave, bad less good seller", negative, spoken,
               least=ABOVE),
        change("mean stage, bad less good seller", lambda e: fmean(stages(e)), spoken, "stages",
               most=BELOW),
        figure("customers that leave the bad seller", share_of(left, [1] * len(left)), len(left),
               "customers"),
        figure("turns until they leave it", mean_of(
            [len(e.turns) for e in bad if e.outcome == "walk_away"], [1] * sum(left)),
            sum(left), "conversations", "turns"),
    )  # fmt: skip
