"""Solvers of the improvement step by name."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from convgym.agents import make_agent
from convgym.agents.improvement.best_of_n import BestOfN
from convgym.agents.improvement.registry import IMPROVEMENTS, as_improvement, make_improvement
from convgym.agents.improvement.token_ppo import TokenPPO
from convgym.errors import ConvgymError


@pytest.mark.parametrize("name", list(IMPROVEMENTS.shipped))
def test_every_name_makes_the_solver_that_it_stands_for(name: str) -> None:
    solver = make_improvement(name, learning_rate=0.5)
    assert IMPROVEMENTS.shipped[name].target.endswith(f":{type(solver).__name__}")
    assert getattr(solver, "learning_rate") == 0.5  # noqa: B009
    assert solver == make_improvement(name, learning_rate=0.5) != make_improvement(name)


def test_nothing_is_loaded_before_it_is_made() -> None:
    code = (
        "import sys, convgym.agents.improvement.registry; "
        "assert not {'torch', 'trl'} & {*sys.modules}"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("best-of-n", BestOfN()),
        ({"name": "best-of-n", "samples": 8}, BestOfN(samples=8)),
        (TokenPPO(epochs=7), TokenPPO(epochs=7)),
    ],
)
def test_a_solver_is_given_by_name_by_settings_or_itself(given: Any, expected: Any) -> None:
    assert as_improvement(given) == expected
    agent: Any = make_agent("iterative-ppo", improvement=given)
    assert agent.config.improvement == expected


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("grop", r"unknown improvement 'grop'; known: .* \(did you mean 'grpo'\?\)"),
        ({"name": "grpo", "step": 3}, r"unknown setting of improvement 'grpo' 'step'; .*'steps'"),
        ({"name": "best-of-n", "samples": 1}, "at least 2 samples, got 1"),
        ({"steps": 3}, "needs the key 'name', one of token-ppo, .*; got steps"),
        ({}, "got none"),
        (3, r"a mapping with its name, got '3' \(int\)"),
        ({"name": 3}, "expected an improvement by name, got 3"),
    ],
)
def test_mistakes(given: Any, message: str) -> None:
    with pytest.raises(ConvgymError, match=message):
        as_improvement(given)


OWN = """
from dataclasses import dataclass

@dataclass(frozen=True)
class Lazy:
    share: float = 0.5
    def improve(self, reference, problem, speech, *, generator, tell):
        return reference, {}

@dataclass(frozen=True)
class Idle:
    share: float = 0.5

class Loose:
    def improve(self): ...
"""


def test_a_solver_of_ones_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "own_solvers.py").write_text(OWN)
    solver: Any = make_improvement("own_solvers:Lazy", share=1)
    assert solver.share == 1.0
    agent: Any = make_agent("iterative-ppo", improvement={"name": "own_solvers:Lazy", "share": 0.1})
    assert type(agent.config.improvement) is type(solver) and agent.config.improvement.share == 0.1
    with pytest.raises(ConvgymError, match="'own_solvers:Idle' is no solver: it lacks improve"):
        make_improvement("own_solvers:Idle")
    with pytest.raises(ConvgymError, match="'own_solvers:Loose' must be a dataclass of its setti"):
        make_improvement("own_solvers:Loose")
    with pytest.raises(ConvgymError, match="setting 'share' of improvement 'own_solvers:Lazy' sho"):
        make_improvement("own_solvers:Lazy", share="most")
