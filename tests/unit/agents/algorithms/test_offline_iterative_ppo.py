"""One round from a log: what becomes of the step, as the gate says."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from convgym.agents import make_agent
from convgym.agents.algorithms import offline_iterative_ppo as module
from convgym.agents.model.language_model import LanguageModel
from convgym.agents.model.policy import LanguageModelPolicy
from convgym.agents.off_policy.behaviour import without_logprobs
from convgym.agents.off_policy.gate import Gain
from convgym.agents.training.collector import Collector
from convgym.agents.values.fitted import FittedQ
from convgym.logs import write_log
from tests.unit.agents.algorithms.test_offline_learners import episodes

torch.set_num_threads(1)

KNOWN: dict[str, Any] = {"coverage": 1.0, "kl": 0.1, "conversations": 50, "sales": 5}
CASES = {
    "good": (Gain(0.2, 0.05, **KNOWN), True, []),
    "bad": (Gain(-0.2, 0.05, **KNOWN), False, ["turned the improved policy down"]),
    "far": (Gain(0.5, 0.05, **{**KNOWN, "kl": 9.0}), False, ["diverges by 9.00 nats"]),
    "uncovered": (Gain(0.5, 0.05, **{**KNOWN, "coverage": 0.1}), False, ["a mean of 0.10"]),
    "few": (Gain(0.2, 0.05, **{**KNOWN, "conversations": 3}), True, ["no gate, as 3 conver"]),
}


@pytest.mark.parametrize("case", CASES)
def test_a_step_is_taken_unless_the_log_speaks_against_it(
    case: str,
    make_model: Callable[..., LanguageModel],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gain, taken, notes = CASES[case]
    seen: dict[str, Any] = {}

    def improve(model: LanguageModel, fitted: FittedQ, *_: Any) -> tuple[LanguageModel, Any]:
        seen["clone"] = model.copy().weights()
        seen["unknown"] = without_logprobs(fitted.log)
        improved = model.copy()
        with torch.no_grad():
            for parameter in improved.trained_parameters():
                parameter.add_(0.1)
        seen["improved"] = improved.weights()
        return improved, {"kl": 0.1}

    monkeypatch.setattr(module, "improve", improve)
    monkeypatch.setattr(module, "gate", lambda *_: gain)
    LanguageModelPolicy(make_model(layers=1)).save(tmp_path / "model")
    log = tmp_path / "log.jsonl"
    write_log(log, episodes(*("purchase", "walk_away") * 3))
    agent: Any = make_agent(
        "offline-iterative-ppo",
        policy={"model": str(tmp_path / "model")},
        q_function={"first_steps": 1, "epochs": 1},
    )
    report = agent.train(Collector(6, seed=0, log=log), folder=tmp_path / "run")
    # Who spoke is unknown, so the clone's probabilities stand in.
    assert seen["unknown"] == 0
    expected = seen["improved" if taken else "clone"]
    assert all(torch.equal(agent.model.weights()[name], expected[name]) for name in expected)
    assert len(report.notes) == len(notes)
    assert all(part in note for part, note in zip(notes, report.notes, strict=True))
    assert report.rows[-1]["passed_gate"] == (case == "good")
