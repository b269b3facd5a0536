"""Variants of Iterative PPO: each does what its name says, and a study of them goes on."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from convgym.agents import make_agent
from convgym.agents.improvement.problem import SingleTurnProblem
from convgym.agents.improvement.token_ppo import TokenPPO
from convgym.agents.model.language_model import LanguageModel
from convgym.agents.model.policy import LanguageModelPolicy
from convgym.agents.training.collector import Collector
from convgym.agents.values.fitted import fit_q
from convgym.agents.values.q_function import QEnsemble, QFunctionConfig
from convgym.benchmarks.runs.frontier import FRONTIER
from convgym.benchmarks.studies import ablations
from convgym.benchmarks.studies.ablations import (
    AS_IT_IS,
    COLD,
    HOT,
    VARIANTS,
    BoldFirst,
    ColdFirst,
    Falling,
    Variant,
    WithCommonNumbers,
    compared,
)
from convgym.benchmarks.studies.imagination import Deeper, choose_states, imagined
from convgym.errors import ConvgymError
from convgym.rollout import rollout
from convgym.seeds import train_seeds

torch.set_num_threads(1)

STEP = TokenPPO(fresh_steps=1, fresh_conversations=4, fresh_samples=2)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def problem() -> tuple[LanguageModel, QEnsemble, SingleTurnProblem]:
    """Return the shipped seller, a Q of a few of its conversations, and their problem."""
    policy = LanguageModelPolicy.from_pretrained()
    episodes = rollout(policy, train_seeds(3, 12))
    config = QFunctionConfig(epochs=1, first_steps=0, replies=1)
    ensemble = QEnsemble(policy.model, config)
    fitted = fit_q(policy.model, ensemble, episodes, held_out=0, generator=seeded())
    score = partial(ensemble.score, generator=seeded())
    return policy.model, ensemble, SingleTurnProblem(fitted.log, score, [])


def test_conversations_go_on_from_states(
    problem: tuple[LanguageModel, QEnsemble, SingleTurnProblem],
) -> None:
    model, ensemble, of_log = problem
    (member,) = ensemble
    states = choose_states(of_log.log, 8, seeded())
    known = set(of_log.prompts())
    assert len(states) == 8
    assert known.issuperset(states)
    log = imagined(model, member, states, 2, seeded())
    before, after = model.format.reply_frame
    assert {episode.n_turns for episode in log} <= {1, 2}
    assert max(episode.n_turns for episode in log) == 2
    for episode, state in zip(log, states, strict=True):
        starts = episode.response_starts()
        assert episode.ids[: starts[0]] == state
        assert episode.turns[: starts[0]] == (-1,) * len(state)
        assert 0 < episode.outcome < 1
        replies = [episode.ending]
        if len(starts) == 2:
            first = starts[0] + episode.turns.count(0)
            replies.append(episode.ids[first : starts[1]])
        for reply in replies:
            assert reply[: len(before)] == before
            assert reply[-len(after) :] == after
            assert model.format.end_id not in reply
    assert imagined(model, member, states, 2, seeded()) == pytest.approx(log, nan_ok=True)
    batch = model.collate(log)
    assert model.logprobs(batch).tolist() == pytest.approx(
        batch.logprobs[batch.response].tolist(), abs=1e-3
    )


def test_a_deeper_step_takes_further_ones_from_what_it_imagined(
    problem: tuple[LanguageModel, QEnsemble, SingleTurnProblem],
) -> None:
    model, ensemble, of_log = problem
    before = {name: weight.clone() for name, weight in ensemble.state_dict().items()}
    deeper = Deeper(STEP, conversations=6, turns=1, epochs=1)
    improved, metrics = deeper.improve(model, of_log, generator=seeded())
    once, _ = STEP.improve(model, of_log, generator=seeded())
    assert 0 < metrics["imagined_value"] < 1
    changed = [
        not torch.equal(weight, once.weights()[name]) for name, weight in improved.weights().items()
    ]
    assert any(changed)
    assert all(torch.equal(weight, before[name]) for name, weight in ensemble.state_dict().items())


@dataclass
class Seen:
    """A step that remembers what it was asked."""

    learning_rate: float = 1.0
    asked: list[Any] = field(default_factory=list)

    def improve(
        self, reference: LanguageModel, problem: SingleTurnProblem, **told: Any
    ) -> tuple[LanguageModel, dict[str, float]]:
        self.asked.append((self.learning_rate, problem))
        return reference, {}


def test_a_setting_falls_round_by_round(
    problem: tuple[LanguageModel, QEnsemble, SingleTurnProblem],
) -> None:
    model, _, of_log = problem
    seen = Seen()
    falling = Falling(seen, "learning_rate")
    for _ in ablations.FALLING:
        falling.improve(model, of_log, generator=seeded())
    assert tuple(rate for rate, _ in seen.asked) == ablations.FALLING


def test_with_common_numbers_responses_are_judged_alike_whatever_is_beside_them(
    problem: tuple[LanguageModel, QEnsemble, SingleTurnProblem],
) -> None:
    model, _, of_log = problem
    seen = Seen()
    prompts = of_log.prompts()[:3]
    responses = [model.format.response(text) for text in ("Hello.", "What is it for?", "Bye.")]

    def judged(n: int) -> list[float]:
        WithCommonNumbers(seen).improve(model, of_log, generator=seeded())
        score = seen.asked[-1][1].score
        found: list[float] = score(prompts[:n], responses[:n]).tolist()
        return found

    assert judged(2) == pytest.approx(judged(3)[:2], abs=1e-5)


@pytest.mark.parametrize(("kind", "temperature"), [(BoldFirst, HOT), (ColdFirst, COLD)])
def test_the_first_deployment_alone_has_its_temperature(
    kind: type[Collector], temperature: float
) -> None:
    policy = LanguageModelPolicy.from_pretrained()
    collector = kind(8, seed=5)
    first, plain = (collector.deploy([policy], 4) for _ in range(2))
    batches = [policy.model.collate(policy.model.tokenise(episodes)) for episodes in (first, plain)]
    for batch, same in zip(batches, (False, True), strict=True):
        logs = policy.model.logprobs(batch)
        said = batch.logprobs[batch.response]
        assert torch.allclose(logs, said, atol=1e-3) is same
    logs = policy.voice(None, temperature).model.logprobs(batches[0])
    assert torch.allclose(logs, batches[0].logprobs[batches[0].response], atol=1e-3)


def test_variants_are_compared_with_the_agent_as_it_is() -> None:
    def trained(*rates: float) -> list[dict[str, Any]]:
        return [
            {
                "outcomes": "1" * int(1000 * rate) + "0" * int(1000 * (1 - rate)),
                "processor_seconds": 2.0,
            }
            for rate in rates
        ]

    name = "deeper imagination"
    base, other = compared({AS_IT_IS: trained(0.5, 0.52), name: trained(0.7, 0.72), "none": []})
    assert "gain" not in base
    value, low, high = other["gain"]
    assert value == pytest.approx(0.2)
    assert 0 < low < value < high
    assert other["p_holm"] == other["p_value"] < 0.05


def test_a_training_tells_whom_it_sells_to() -> None:
    small = Variant(
        {
            "q_function": {"epochs": 1, "first_steps": 0, "replies": 1},
            "improvement": {"fresh_steps": 1, "fresh_conversations": 2, "fresh_samples": 2},
        }
    )
    made = ablations.train("iterative-ppo", small, seed=1, budget=8, customers=4)
    assert set(made["outcomes"]) <= {"0", "1"}
    assert (len(made["outcomes"]), len(made["curve"])) == (4, 4)
    assert made["processor_seconds"] > 0


def test_a_study_of_variants_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(ablations, "TRAINING_SEEDS", (1, 2))
    chosen = (AS_IT_IS, "two members")
    monkeypatch.setattr(ablations, "VARIANTS", {name: VARIANTS[name] for name in chosen})

    def train(name: str, variant: Variant, seed: int, budget: int, customers: int) -> Any:
        return {"seed": seed, "outcomes": "01" * 2, "curve": [0.5], "processor_seconds": 1.0}

    monkeypatch.setattr(ablations, "train", train)
    path = tmp_path / "found.json"
    told: dict[str, Any] = {"customers": 4, "budget": 8}
    with pytest.raises(ConvgymError, match="unknown variant"):
        ablations.main(path, only=["nothing"], **told)
    with pytest.raises(ConvgymError, match="unknown agent 'online-ppo'"):
        ablations.main(path, agent="online-ppo", **told)
    with pytest.raises(ConvgymError, match="no training is there yet"):
        ablations.main(path, as_is=True, **told)
    ablations.main(path, only=[AS_IT_IS], **told)
    assert "1 of 2: as it is, seed 1" in capsys.readouterr().out
    found = json.loads(path.read_text(encoding="utf-8"))
    assert found["left_out"] == ["two members 1", "two members 2"]
    assert [row["variant"] for row in found["variants"]] == [AS_IT_IS]
    elsewhere = tmp_path / "stored.json"  # without its pieces: a result like any other
    elsewhere.write_bytes(path.read_bytes())
    with pytest.raises(ConvgymError, match="never overwritten"):
        ablations.main(elsewhere, **told)
    with pytest.raises(ConvgymError, match="other settings: customers 4, not 5; give another"):
        ablations.main(path, customers=5, budget=8)
    parts = sorted((tmp_path / "found.json.parts").glob("as-it-is-*.json"))
    before = [part.stat().st_mtime_ns for part in parts]
    ablations.main(path, **told)
    assert [part.stat().st_mtime_ns for part in parts] == before
    found = json.loads(path.read_text(encoding="utf-8"))
    assert [row["variant"] for row in found["variants"]] == list(chosen)
    assert [(row["variant"], row["seed"]) for row in found["trainings"]] == [
        (name, seed) for name in chosen for seed in (1, 2)
    ]
    assert found["left_out"] == []
    with pytest.raises(ConvgymError, match="never overwritten"):
        ablations.main(path, **told)


def test_a_comparison_of_some_locks_nobody_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(ablations, "TRAINING_SEEDS", (1,))
    monkeypatch.setattr(ablations, "train", lambda *_: dict(outcomes="01", processor_seconds=1))
    path = tmp_path / "found.json"
    told: dict[str, Any] = {"customers": 2, "budget": 8}
    ablations.main(path, **told)
    path.unlink()
    ablations.main(path, only=[AS_IT_IS], **told)  # all are made, and some are asked for
    assert "are left out: without --only all are made" in capsys.readouterr().out
    ablations.main(path, **told)
    found = json.loads(path.read_text(encoding="utf-8"))
    assert (len(found["variants"]), found["left_out"]) == (len(VARIANTS), [])


def test_a_gate_that_can_never_judge_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(ablations, "train", lambda *_: dict(outcomes="01", processor_seconds=1))
    for budget, is_told in ((796, True), (800, False)):
        path = tmp_path / f"{budget}.json"
        ablations.main(path, only=[ablations.GATED], customers=2, budget=budget)
        assert ("it deploys nothing" in capsys.readouterr().out) is is_told


def test_an_interrupted_study_says_how_it_goes_on_and_a_damaged_piece_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(ablations, "train", interrupted)
    path = tmp_path / "found.json"
    with pytest.raises(SystemExit) as caught:
        ablations.main(path, customers=4, budget=8)
    assert caught.value.code == 130
    assert "the same command goes on with what is finished in" in capsys.readouterr().err
    (tmp_path / "found.json.parts").mkdir(exist_ok=True)
    (tmp_path / "found.json.parts" / "as-it-is-900301.json").write_text('{"cut')
    with pytest.raises(ConvgymError, match=r"as-it-is-900301\.json is damaged: .*; delete it"):
        ablations.main(path, customers=4, budget=8)  # before any of those missing is trained


def test_all_variants_can_be_made() -> None:
    for name in ablations.BASES:
        of_suite = make_agent(name, **FRONTIER.overrides[f"{name}@4"]).config
        assert ablations.agent_with(name, VARIANTS[AS_IT_IS]).config == of_suite
        for label, variant in VARIANTS.items():
            agent = ablations.agent_with(name, variant)
            assert agent.config.rounds == len(ablations.FALLING)
            assert agent.config.gate.held_out == (0.1 if label == "the gate left in" else 0)
