"""The comparison of solvers: all get the same problem, and their figures are stored."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from convgym.agents import make_agent
from convgym.agents.improvement.problem import SingleTurnProblem
from convgym.agents.improvement.registry import IMPROVEMENTS
from convgym.agents.model.batch import TokenisedEpisode, tokenise
from convgym.agents.model.config import PolicyConfig
from convgym.agents.model.format import Tokens
from convgym.agents.model.language_model import LanguageModel
from convgym.agents.model.policy import LanguageModelPolicy
from convgym.agents.pretrain import PretrainConfig, build_model, pretrain
from convgym.agents.values.q_function import QFunctionConfig
from convgym.benchmarks.studies.improvement_solvers import SOLVERS, SideBySide, main
from convgym.errors import ConvgymError
from convgym.rollout import rollout

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    shape = PretrainConfig(vocabulary=300, hidden=16, layers=1, heads=2, intermediate=16)
    pretrain(folder, conversations=40, config=shape)
    return folder


@dataclass(frozen=True)
class Constant:
    """A solver that returns a given model and notes the problem that it was given."""

    model: LanguageModel
    met: list[tuple[LanguageModel, SingleTurnProblem, int]]

    def improve(
        self,
        reference: LanguageModel,
        problem: SingleTurnProblem,
        *,
        generator: Any,
        **_: Any,
    ) -> tuple[LanguageModel, dict[str, float]]:
        self.met.append((reference, problem, generator.initial_seed()))
        return self.model, {"steps": 1.0}


def test_solvers_are_judged_with_one_problem(folder: Path) -> None:
    policy = LanguageModelPolicy.from_pretrained(folder, config=PolicyConfig(max_new_tokens=6))
    format = policy.model.format
    shape = PretrainConfig(vocabulary=300, hidden=16, layers=1, heads=2, intermediate=16)
    network = build_model(shape, format.tokenizer, seed=1).eval()
    other = LanguageModel.of(network, format, policy.model.sampling)
    log: list[TokenisedEpisode] = [
        tokenise(episode, format) for episode in rollout(policy, range(8))
    ]

    def score(prompts: Sequence[Tokens], responses: Sequence[Tokens]) -> Tensor:
        return torch.tensor([sum(one) / len(one) for one in responses])

    met: list[tuple[LanguageModel, SingleTurnProblem, int]] = []
    solvers = {"same": Constant(policy.model, met), "other": Constant(other, met)}
    comparison = SideBySide(solvers, customers=8, seed=3)
    problem, generator = SingleTurnProblem(log, score, []), torch.Generator().manual_seed(0)
    returned, metrics = comparison.improve(policy.model, problem, generator=generator)
    assert returned is policy.model
    assert metrics == {}
    assert met == [(policy.model, problem, 3)] * 2

    reference, same, changed = comparison.rows
    assert [row["solver"] for row in comparison.rows] == ["reference", "same", "other"]
    assert same["kl_nats_per_response"] == same["q_gain"] == 0
    assert same["purchases"] == reference["purchases"]
    assert same["metrics"] == {"steps": 1.0}
    assert changed["kl_nats_per_response"] > 0.01
    assert changed["q_gain"] == pytest.approx(changed["q"] - reference["q"]) != 0
    assert {row["customers"] for row in comparison.rows} == {8}


def test_what_was_found_is_printed_and_stored(
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    small = partial(
        make_agent,
        policy={"model": str(folder), "max_new_tokens": 6},
        q_function=QFunctionConfig(epochs=1, first_steps=0, imagined=0.0),
    )
    monkeypatch.setattr("convgym.benchmarks.studies.improvement_solvers.make_agent", small)
    main(tmp_path / "found.json", conversations=12, customers=6, seed=1, solvers="best-of-n")
    facts = json.loads((tmp_path / "found.json").read_text())
    reference, row = facts["rows"]
    assert reference["solver"] == "reference"
    assert (row["class"], row["settings"]["samples"]) == ("BestOfN", 4)
    assert row["processor_seconds"] > 0
    assert facts["config"]["policy"]["max_new_tokens"] == 6
    assert facts["q_function"]["value_loss"] > 0
    assert {"commit", "versions", "machine", "seeds", "conversations"} <= set(facts)
    assert capsys.readouterr().out.count("conversion") == 2


def test_all_solvers_are_compared_unless_told_otherwise(tmp_path: Path) -> None:
    assert {settings["name"] for settings in SOLVERS.values()} == set(IMPROVEMENTS.shipped)
    with pytest.raises(ConvgymError, match="unknown solver 'ppo'; known: best-of-n"):
        main(tmp_path / "none.json", solvers="grpo, ppo")
    assert not (tmp_path / "none.json").exists()
