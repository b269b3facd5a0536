"""Rows compared in pairs, customer by customer, and corrected for being many."""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np

from convgym.benchmarks.runs.result import NO_OUTCOME, Result
from convgym.comparisons import Comparison, compare, holm
from convgym.errors import ConvgymError
from convgym.statistics import Array


@dataclass(frozen=True, slots=True)
class Pair:
    """Two rows: how much more ``a`` sold than ``b``; ``p_holm`` is corrected within a family."""

    a: str
    b: str
    comparison: Comparison
    p_holm: float


@dataclass(frozen=True, slots=True)
class Family:
    """Comparisons that answer one question together, the best row's first."""

    name: str
    pairs: tuple[Pair, ...]


METHOD = (
    "Differences of conversion on the same customers, Welch intervals of 95% over training seeds"
    " and customers (convgym/comparisons.py); p_holm is corrected within the family (Holm 1979)."
    " Rows of one seed are compared as they are, not as another training run would end."
)


def families(results: Sequence[Result], wanted: Sequence[str] | None = None) -> list[Family]:
    """Return what is compared with what.

    All agents with each other, and those of an equal number of deployments once more by
    themselves: whoever asks that alone pays for fewer comparisons. With ``wanted``, names or
    patterns of rows of any kind, these with each other and nothing else. Rows that are invalid are
    left out.

    Raises ConvgymError for a pattern that fits no row.
    """
    tables = outcome_tables(results)
    if wanted is not None:
        names = [name for pattern in wanted for name in _fitting(pattern, tables)]
        return _families({"the rows asked for": names}, tables)
    agents = [result for result in results if result.job.kind == "agent"]
    groups = {"all agents": [result.job.name for result in agents]}
    for result in sorted(agents, key=lambda result: result.deployments):
        group = f"agents of {result.deployments} deployment{'s' * (result.deployments != 1)}"
        groups.setdefault(group, []).append(result.job.name)
    return _families(groups, tables)


def outcome_tables(results: Sequence[Result]) -> dict[str, Array]:
    """Return, by name, who bought (seeds, customers): 1, 0, or NaN where a backend failed."""
    rows: dict[str, list[Result]] = {}
    for result in results:
        if result.valid:
            rows.setdefault(result.job.name, []).append(result)
    values = {"p": 1.0, **dict.fromkeys(NO_OUTCOME, np.nan)}
    return {
        name: np.array([[values.get(letter, 0.0) for letter in row.outcomes] for row in of_name])
        for name, of_name in rows.items()
    }


def to_json(family: Family) -> dict[str, Any]:
    """Return a family as plain data; differences and their ends are fractions."""
    return {
        "name": family.name,
        "pairs": [
            {
                "a": pair.a,
                "b": pair.b,
                "difference": pair.comparison.difference.value,
                "interval95": [
                    pair.comparison.difference.low,
                    pair.comparison.difference.high,
                ],
                "p_value": pair.comparison.p_value,
                "p_holm": pair.p_holm,
                "degrees_of_freedom": pair.comparison.degrees,
                "customers": pair.comparison.customers,
                "seeds": list(pair.comparison.seeds),
            }
            for pair in family.pairs
        ],
    }


def _families(groups: Mapping[str, Sequence[str]], tables: Mapping[str, Array]) -> list[Family]:
    members = {
        name: frozenset(row for row in rows if row in tables) for name, rows in groups.items()
    }
    distinct = {rows: name for name, rows in reversed(members.items()) if len(rows) > 1}
    return [
        _family(name, rows, tables) for name, rows in members.items() if distinct.get(rows) == name
    ]


def _family(name: str, rows: frozenset[str], tables: Mapping[str, Array]) -> Family:
    best_first = sorted(rows, key=lambda row: (-float(np.nanmean(tables[row])), row))
    names = list(combinations(best_first, 2))
    compared = [compare(tables[a], tables[b]) for a, b in names]
    adjusted = holm([comparison.p_value for comparison in compared])
    return Family(
        name,
        tuple(
            Pair(a, b, comparison, float(p))
            for (a, b), comparison, p in zip(names, compared, adjusted, strict=True)
        ),
    )


def _fitting(pattern: str, names: Mapping[str, Array]) -> list[str]:
    fitting = fnmatch.filter(names, pattern)
    if not fitting:
        raise ConvgymError(f"{pattern!r} fits no row; there are {', '.join(names) or 'none'}")
    return fitting
