"""The picture of variants that differ in their number of deployments."""

from __future__ import annotations

import pytest

from convgym.benchmarks.report.frontier import frontier, series
from convgym.benchmarks.runs.result import Result
from convgym.benchmarks.runs.scores import scores
from convgym.benchmarks.runs.suites import Job, Kind


def row(kind: Kind, name: str, seed: int, deployments: int, cpu: float | None) -> Result:
    return Result(Job(kind, name, seed), "pw" * 20, 4.0, 100, deployments, cpu_seconds=cpu)


def rows(cpu: float | None = 9.0) -> list[Result]:
    return [
        row("seller", "oracle", 0, 0, None),
        row("start", "small-seller", 0, 0, None),
        *(row("agent", "a@16", seed, 16, cpu) for seed in range(3)),
        row("agent", "a@4", 0, 4, cpu),
        row("agent", "a@word-2", 0, 2, cpu),
        row("agent", "b", 0, 0, cpu),
    ]


def test_variants_are_points_of_a_line_in_the_order_of_deployments() -> None:
    lines = series(scores(rows()))
    assert {name: [p.name for p in points] for name, points in lines.items()} == {
        "a": ["a@4", "a@16"],
        "a@word": ["a@word-2"],
        "b": ["b"],
    }


def test_agents_of_one_number_of_deployments_make_no_frontier() -> None:
    assert not series(scores(rows()[5:])) and not series(scores(rows()[:2]))


@pytest.mark.parametrize("cpu", [None, 9.0, 0.0])
def test_the_picture_is_a_png(cpu: float | None) -> None:
    pytest.importorskip("matplotlib")
    results = rows(cpu)
    assert frontier(scores(results), results)[:8] == b"\x89PNG\r\n\x1a\n"
