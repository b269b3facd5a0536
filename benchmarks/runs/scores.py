"""Scores: what the rows of a run say, one line for each seller and agent."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from convgym.benchmarks.runs.conduct import Conduct
from convgym.benchmarks.runs.result import Result, count_valid
from convgym.benchmarks.runs.suites import Kind
from convgym.statistics import (
    Estimate,
    difference,
    mean_over_seeds,
    seeds_interval,
    two_proportion_test,
)


@dataclass(frozen=True)
class Score:
    """A seller or an agent over all its training seeds; rates are fractions, times seconds.

    ``conversion`` has a 95% interval: Wilson's for one seed, else ``seeds_interval``. ``gain`` is
    the difference to the agent's own start, ``p_value`` its two-proportion test (one seed only),
    both None without one; ``start`` is its name. Conversations, deployments, turns (of training
    and of evaluation), branches and seconds are means over the seeds. Seeds whose row is invalid
    are left out; without any other, ``conversion`` is nan in [0, 1]. ``acceptance`` of suggestions
    likewise, None where nobody took any. ``excluded`` conversations, in training and evaluation,
    broke on the customer's side; in ``seller_failed`` of evaluation the seller's backend failed.
    ``notes`` are the agent's own. ``cpu_seconds`` are those of processors in training, nan where
    they are not known. ``colder`` is the conversion at a lower temperature, None where it was not
    asked for. ``conduct`` is the mean of the seeds', None where no customer kept count.
    """

    kind: Kind
    name: str
    seeds: int
    invalid_seeds: int
    conversion: Estimate
    gain: Estimate | None
    p_value: float | None
    conversations: float
    deployments: float
    turns: float
    seconds: float
    excluded: int
    acceptance: Estimate | None
    start: str | None = None
    training_turns: float = 0.0
    branches: float = 0.0
    notes: tuple[str, ...] = ()
    cpu_seconds: float = math.nan
    colder: Estimate | None = None
    seller_failed: int = 0
    conduct: Conduct | None = None


def scores(results: Iterable[Result]) -> list[Score]:
    """Return the score of each seller and agent, in the order of the rows."""
    groups: dict[tuple[Kind, str], list[Result]] = {}
    for result in results:
        groups.setdefault((result.job.kind, result.job.name), []).append(result)
    starts = {name: rows for (kind, name), rows in groups.items() if kind == "start"}
    ranking = []
    for (kind, name), rows in groups.items():
        # Rows of earlier versions name no start: there was one for all.
        start = rows[0].start or next(iter(starts), None) if kind == "agent" else None
        ranking.append(_score(kind, name, rows, start, starts.get(start or "", [])))
    return ranking


def _score(
    kind: Kind, name: str, rows: Sequence[Result], start: str | None, start_rows: Sequence[Result]
) -> Score:
    valid = [row for row in rows if row.valid]
    conversion = _conversion(valid)
    before = [row for row in start_rows if row.valid] if valid else []
    gain = difference(conversion, _conversion(before)) if before else None
    acceptance = [row.acceptance for row in valid if row.acceptance]
    p_value = None
    if before and len(valid) == 1:
        a, b = valid[0], before[0]
        p_value = two_proportion_test(a.conversions, a.episodes, b.conversions, b.episodes)
    return Score(
        kind,
        name,
        seeds=len(rows),
        invalid_seeds=len(rows) - len(valid),
        conversion=conversion,
        gain=gain,
        p_value=p_value,
        conversations=_mean([row.conversations for row in rows]),
        deployments=_mean([row.deployments for row in rows]),
        turns=_mean([row.turns for row in valid if row.turns is not None]),
        seconds=_mean([row.train_seconds + row.evaluation_seconds for row in rows]),
        excluded=sum(row.excluded + row.training_excluded for row in rows),
        acceptance=mean_over_seeds(acceptance) if acceptance else None,
        start=start,
        training_turns=_mean([row.training_turns for row in rows]),
        branches=_mean([row.branches for row in rows]),
        notes=tuple(dict.fromkeys(note for row in rows for note in row.notes)),
        cpu_seconds=_mean([row.cpu_seconds for row in rows if row.cpu_seconds is not None]),
        colder=_colder([row.colder for row in valid if row.colder is not None]),
        seller_failed=sum(row.seller_failed for row in rows),
        conduct=Conduct.mean([row.conduct for row in valid if row.conduct is not None]),
    )


def _conversion(rows: Sequence[Result]) -> Estimate:
    if not rows:
        return Estimate(math.nan, 0.0, 1.0)
    return seeds_interval([row.conversions for row in rows], [row.episodes for row in rows])


def _colder(outcomes: Sequence[str]) -> Estimate | None:
    sold = [letters.count("p") for letters in outcomes]
    heard = [count_valid(letters) for letters in outcomes]
    return seeds_interval(sold, heard) if heard and all(heard) else None


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else math.nan
