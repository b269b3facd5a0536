"""The cost of a round beside online PPO, on the smallest run."""

from __future__ import annotations

from functools import partial

import pytest

from convgym.agents.algorithms.iterative_ppo import IterativePPOConfig
from convgym.agents.improvement.token_ppo import TokenPPO
from convgym.agents.values.q_function import QFunctionConfig
from convgym.benchmarks.studies import round_cost


@pytest.mark.slow
def test_a_round_has_a_cost(monkeypatch: pytest.MonkeyPatch) -> None:
    few = partial(
        IterativePPOConfig,
        q_function=QFunctionConfig(epochs=1, first_steps=3),
        improvement=TokenPPO(fresh_steps=1, fresh_conversations=4),
    )
    monkeypatch.setattr(round_cost, "IterativePPOConfig", few)
    found = round_cost.measure(conversations=16, seed=0)
    assert found["fit"]["tokens"] == 3 * round(found["response_tokens"] * 14 / 16)
    assert all(found[part]["seconds"] > 0 for part in ("fit", "improve", "online"))
    seconds = found["fit"]["seconds"] + found["improve"]["seconds"]
    assert found["ratio_per_conversation"] == pytest.approx(seconds / found["online"]["seconds"])
