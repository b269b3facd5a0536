"""The comparison of ways to fit Q, on the smallest runs."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import pytest

from convgym.agents.improvement.token_ppo import TokenPPO
from convgym.agents.values.q_function import QFunctionConfig
from convgym.benchmarks.studies import q_variants
from convgym.benchmarks.studies.q_variants import Variant, measure
from convgym.errors import ConvgymError


@pytest.mark.slow
def test_variants_are_measured_on_the_same_states(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alike = QFunctionConfig(epochs=1, first_steps=0, replies=1)
    monkeypatch.setattr(
        q_variants,
        "VARIANTS",
        (
            Variant("one", alike, {"direct": {"imagined": 0.0}}),
            Variant("the same", alike, improve=()),
            Variant(
                "squared error",
                QFunctionConfig(epochs=1, first_steps=0, replies=1, loss="mse"),
                improve=(),
            ),
        ),
    )
    monkeypatch.setattr(
        q_variants, "TokenPPO", partial(TokenPPO, fresh_steps=1, fresh_conversations=4)
    )
    monkeypatch.setattr(q_variants, "FRESH_CUSTOMERS", 8)
    path = tmp_path / "variants.json"
    measure(path, conversations=24, states=3, seed=0, rollouts=2)
    stored = json.loads(path.read_text(encoding="utf-8"))
    one, same, other = stored["variants"]
    assert set(one["readings"]) == {"as fitted", "direct"}
    assert one["readings"]["as fitted"] == same["readings"]["as fitted"]
    assert one["held_out"] == same["held_out"] != other["held_out"]
    assert one["readings"]["as fitted"]["states"] == 3
    assert one["readings"]["as fitted"] != one["readings"]["direct"]
    assert list(one["one_round"]) == ["as fitted"]
    assert one["one_round"]["as fitted"]["customers"] == 8
    assert 0 <= one["one_round"]["as fitted"]["conversions"] <= 8
    assert same["one_round"] == {}
    with pytest.raises(ConvgymError, match="never overwritten"):
        measure(path, conversations=24, states=3, seed=0)
