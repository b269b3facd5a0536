"""Colder sampling: all temperatures meet the same customers, and the rows say what was counted."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from convgym.benchmarks.studies import temperature
from convgym.benchmarks.studies.temperature import main


def test_every_policy_is_judged_at_every_temperature(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(temperature, "TEMPERATURES", (1.0, 0.05))
    path = tmp_path / "found.json"
    main(path, policy=["default"], seed=10**6, customers=60)
    found = json.loads(path.read_text())
    assert (found["evaluation_seed"], found["customers"]) == (10**6, 60)
    hot, cold = found["rows"]
    assert [hot["temperature"], cold["temperature"]] == [1.0, 0.05]
    for row in (hot, cold):
        assert row["conversion"] == row["purchases"] / 60
        assert row["interval"][0] < row["conversion"] < row["interval"][1]
    # The shipped seller's likeliest words are its best ones.
    assert cold["interval"][0] > hot["interval"][1]
