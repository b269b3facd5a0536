"""Coverage of intervals: simulated agents are equally good, and the file says what was counted."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from convgym.benchmarks.studies import comparison_coverage
from convgym.benchmarks.studies.comparison_coverage import coverage, experiment, main, resampled
from convgym.statistics import Estimate


def test_the_simulated_agents_are_equally_good_and_share_their_customers() -> None:
    a, b = experiment(np.random.default_rng(0), seeds=200, customers=400, spread=0.05)
    assert a.shape == b.shape == (200, 400) and set(np.unique([a, b])) == {0, 1}
    assert abs(a.mean() - b.mean()) < 0.02
    assert np.corrcoef(a.mean(0), b.mean(0))[0, 1] > 0.8
    assert abs(np.corrcoef(a.mean(1), b.mean(1))[0, 1]) < 0.25
    assert a.mean(1).std() == pytest.approx(0.04, abs=0.015)


def test_a_resampled_difference_of_certain_outcomes_is_certain() -> None:
    found = resampled(np.random.default_rng(0), np.ones((2, 10)), np.zeros((3, 10)))
    assert (found.value, found.low, found.high) == pytest.approx((1, 1, 1))


def test_an_interval_that_holds_nothing_covers_never(monkeypatch: pytest.MonkeyPatch) -> None:
    nowhere = Estimate(0.5, 0.4, 0.6)
    monkeypatch.setattr(comparison_coverage, "paired", lambda a, b: nowhere)
    ways = coverage(2, 0.02, experiments=5, customers=50)
    assert ways["paired"] == {"covered": 0, "half_width": pytest.approx(0.1)}
    assert ways["unpaired"]["covered"] > 0


def test_every_setting_is_stored(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(comparison_coverage, "SETTINGS", ((2, 0.0), (3, 0.05)))
    main(tmp_path / "found.json", experiments=4)
    found = json.loads((tmp_path / "found.json").read_text())
    assert (found["experiments"], found["customers"]) == (4, 500)
    assert [(row["training_seeds"], row["spread"]) for row in found["rows"]] == [(2, 0), (3, 0.05)]
    for row in found["rows"]:
        assert row["unpaired"] == coverage(row["training_seeds"], row["spread"], 4)["unpaired"]
