"""The cost of a round beside online PPO, on the smallest run."""

from __future__ import annotations

import pytest

from convgym.benchmarks.studies import round_cost


@pytest.mark.slow
def test_a_round_has_a_cost() -> None:
    found = round_cost.measure(conversations=16, seed=0)
    assert found["fit"]["tokens"] == 2 * round(found["response_tokens"] * 14 / 16)
    assert all(found[part]["seconds"] > 0 for part in ("fit", "improve", "online"))
    seconds = found["fit"]["seconds"] + found["improve"]["seconds"]
    assert found["ratio_per_conversation"] == pytest.approx(seconds / found["online"]["seconds"])
