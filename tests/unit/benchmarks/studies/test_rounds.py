"""Measurements of Iterative PPO from inside, on the smallest runs."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from convgym.agents.algorithms.iterative_ppo import IterativePPOConfig
from convgym.agents.improvement.token_ppo import TokenPPO
from convgym.agents.values.q_function import QFunctionConfig
from convgym.benchmarks.studies import rounds
from convgym.benchmarks.studies.rounds import Sizes, measure, premise
from convgym.errors import ConvgymError
from convgym.true_values import TrueValues


def test_the_premise_counts_states_and_those_beyond_chance() -> None:
    # By state: surely better, surely worse, equal, and better by less than the error.
    q = np.array([[1.0, 1.0], [0.0, 0.0], [0.5, 0.5], [0.6, 0.5]])
    returns = np.repeat(q[:, :, None], 4, axis=2)
    v = np.array([[0, 0, 1, 0], [1, 1, 0, 1], [1, 0, 1, 0], [1, 0, 1, 0]], float)
    found = premise(TrueValues(returns, v), v)
    assert found["states"] == 4
    assert found["holds"] == 0.75
    assert found["surely_better"] == 0.25
    assert found["surely_worse"] == 0.25


@pytest.mark.slow
def test_a_run_is_measured_round_by_round(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rounds, "_FINAL_CUSTOMERS", 16)
    config = IterativePPOConfig(
        rounds=2,
        q_function=QFunctionConfig(epochs=1, first_steps=0, replies=1),
        improvement=TokenPPO(epochs=1, fresh_steps=3, fresh_conversations=4, fresh_samples=2),
    )
    sizes = Sizes(states=4, responses=2, rollouts=2, customers=4, passes=2)
    found = measure(tmp_path / "run", config, conversations=24, seed=0, sizes=sizes)
    stored = json.loads((tmp_path / "run" / "rounds.json").read_text(encoding="utf-8"))
    assert stored == json.loads(json.dumps(found))
    assert (tmp_path / "run" / "over_optimisation.png").stat().st_size > 1000
    assert [row["round"] for row in stored["rounds"]] == [1, 2]
    for row in stored["rounds"]:
        # One over the log, three of fresh responses: every other is looked at, the last among them.
        assert len(row["passes"]) == 2
        assert all(one["customers"] == 4 for one in row["passes"])
        assert row["q"]["states"] <= 4
        assert row["predicted_gain"] == pytest.approx(row["turns"] * row["gain_per_turn"])
    before = [row["metrics"]["conversion"] for row in stored["rounds"]]
    assert stored["final"]["customers"] == 16
    assert stored["rounds"][0]["realised_gain"] == pytest.approx(before[1] - before[0])
    with pytest.raises(ConvgymError, match="never overwritten"):
        measure(tmp_path / "run", config, conversations=32, seed=0, sizes=sizes)
