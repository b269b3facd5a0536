"""Iterative PPO as an agent: small runs, what is deployed, and how logs are collected."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from convgym.agents.algorithms.iterative_ppo import (
    IterativePPO,
    IterativePPOConfig,
    Round,
    collect,
)
from convgym.agents.improvement.best_of_n import BestOfN
from convgym.agents.improvement.problem import PolicyWatch, SingleTurnProblem
from convgym.agents.improvement.token_ppo import TokenPPO
from convgym.agents.model.batch import tokenise
from convgym.agents.model.config import PolicyConfig
from convgym.agents.model.format import ConversationFormat
from convgym.agents.model.language_model import LanguageModel
from convgym.agents.model.policy import LanguageModelPolicy
from convgym.agents.model.sampling import SamplingConfig
from convgym.agents.off_policy.gate import GateConfig
from convgym.agents.training.collector import Collector
from convgym.agents.training.imitation import Imitation
from convgym.agents.values.estimates import ValueEstimates
from convgym.agents.values.fitting import corrected_advantages
from convgym.agents.values.q_function import QFunctionConfig
from convgym.agents.values.reuse import reused
from convgym.errors import ConvgymError
from convgym.progress import Progress, ProgressCallback
from convgym.seeds import train_seeds
from tests.unit.agents.algorithms.test_expert_iteration import Easy
from tests.unit.agents.logs import EASY, GOOD, conversation, written_by

torch.set_num_threads(1)

MakeModel = Callable[..., LanguageModel]
MakeAgent = Callable[..., IterativePPO]
ENVIRONMENT = {"max_turns": 2}
QUICK = QFunctionConfig(epochs=1, first_steps=0, replies=1, max_reply_tokens=4)
STEP = TokenPPO(fresh_steps=1, fresh_conversations=4, fresh_samples=2)


@pytest.fixture
def make_agent(make_model: MakeModel, tmp_path: Path) -> MakeAgent:
    folder = tmp_path / "model"
    LanguageModelPolicy(make_model(layers=1, context=768)).save(folder)

    def make(**settings: Any) -> IterativePPO:
        policy = PolicyConfig(model=str(folder), max_new_tokens=4)
        defaults = {"policy": policy, "q_function": QUICK, "improvement": STEP}
        config = IterativePPOConfig(**{**defaults, **settings})
        return IterativePPO(config, "iterative-ppo")

    return make


def weights(agent: IterativePPO) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in agent.model.network.state_dict().items()}


def equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(one[name], other[name]) for name in one | other)


class Observer:
    """Remembers all that it is shown."""

    def __init__(self) -> None:
        self.rounds: list[Round] = []
        self.passes: list[dict[str, torch.Tensor]] = []

    def after_pass(self, model: LanguageModel) -> None:
        self.passes.append({name: value.clone() for name, value in model.weights().items()})

    def after_round(self, finished: Round) -> None:
        self.rounds.append(finished)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"rounds": 0}, "at least 1 round, got 0"),
        ({"exploration": ()}, "one or more factors above 0"),
        ({"exploration": (1.0, 0.0)}, "one or more factors above 0"),
        ({"exploration": (1.0, float("nan"))}, "one or more factors above 0"),
        ({"exploration": (1.0, 1e30)}, r"exploration by 1e\+30: temperature must be from"),
        ({"policy": PolicyConfig(model="/nowhere")}, "no model at '/nowhere'"),
    ],
)
def test_mistakes_in_the_config(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConvgymError, match=message):
        IterativePPO(IterativePPOConfig(**settings), "iterative-ppo")


@pytest.mark.parametrize(("conversations", "deployments"), [(1, 1), (3, 3), (10, 4)])
def test_small_budgets_are_spent_in_full(
    make_agent: MakeAgent, conversations: int, deployments: int
) -> None:
    agent = make_agent(rounds=4)
    told: list[Progress] = []
    collector = Collector(conversations, seed=0, environment=ENVIRONMENT)
    report = agent.train(collector, progress=told.append)
    usage = report.usage
    assert (usage.conversations, usage.deployments) == (conversations, deployments)
    assert len(report.rows) == deployments
    assert all(math.isfinite(value) for row in report.rows for value in row.values())
    assert all(point.episodes > 0 for point in report.curve)
    assert all(parameter.isfinite().all() for parameter in agent.model.network.parameters())
    assert told[-1].stage == f"round {deployments} of {deployments}"
    assert told[-1].done == told[-1].total


@pytest.mark.parametrize("conversations", [1, 2, 7])
def test_a_gate_that_wants_nearly_everything_leaves_something_to_learn_from(
    make_agent: MakeAgent, conversations: int
) -> None:
    agent = make_agent(rounds=1, gate=GateConfig(held_out=0.99))
    agent.observer = observer = Observer()
    report = agent.train(Collector(conversations, seed=0, environment=ENVIRONMENT))
    assert [len(round.fitted.log) for round in observer.rounds] == [conversations]
    assert all(math.isfinite(value) for value in report.rows[0].values())
    assert all(parameter.isfinite().all() for parameter in agent.model.network.parameters())


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"q_function": replace(QUICK, reuse="importance", folds=2)},
        {"q_function": replace(QUICK, reuse="recency", recency=0.5, warm_start=False)},
        {"exploration": (1.0, 1.5)},
        {"improvement": BestOfN(samples=2)},
    ],
    ids=["default", "importance", "recency", "exploration", "best-of-n"],
)
def test_an_interrupted_run_ends_as_an_uninterrupted_one(
    make_agent: MakeAgent, tmp_path: Path, settings: dict[str, Any]
) -> None:
    def run(folder: Path, stop: str = "") -> dict[str, torch.Tensor]:
        def report(progress: Progress) -> None:
            if stop and progress.stage == stop:
                raise KeyboardInterrupt

        agent = make_agent(rounds=3, gate=GateConfig(held_out=0), **settings)
        before = weights(agent)
        collector = Collector(12, seed=0, environment=ENVIRONMENT)
        agent.train(collector, folder=folder, progress=report)
        assert not equal(before, weights(agent))
        return weights(agent)

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "stopped", stop="round 2: improve")
    assert equal(run(tmp_path / "stopped"), run(tmp_path / "whole"))


class Spoiler:
    """An improvement step that makes another policy altogether."""

    def improve(
        self,
        reference: LanguageModel,
        problem: SingleTurnProblem,
        *,
        generator: torch.Generator,
        progress: ProgressCallback,
        watch: PolicyWatch,
    ) -> tuple[LanguageModel, dict[str, float]]:
        model = reference.copy()
        for parameter in model.trained_parameters():
            parameter.data.mul_(-1)
        return model, {}


@pytest.mark.parametrize("passes", [True, False])
def test_what_the_gate_turns_down_is_not_deployed(
    make_agent: MakeAgent, monkeypatch: pytest.MonkeyPatch, passes: bool
) -> None:
    monkeypatch.setattr("convgym.agents.off_policy.gate.Gain.passes", lambda self, config: passes)
    agent = make_agent(rounds=1, improvement=Spoiler())
    agent.observer = observer = Observer()
    before = weights(agent)
    report = agent.train(Collector(6, seed=0, environment=ENVIRONMENT))
    assert report.rows[0]["passed_gate"] == float(passes)
    assert equal(before, weights(agent)) is not passes
    (round,) = observer.rounds
    assert len(round.fitted.log) == len(round.episodes) == len(round.fitted.estimates) == 6
    assert not torch.equal(round.improved.trained_parameters()[0], next(iter(before.values())))


def test_an_observer_sees_every_batch_and_changes_nothing(make_agent: MakeAgent) -> None:
    step = replace(STEP, epochs=1, fresh_steps=2)
    watched, alone = (make_agent(rounds=2, improvement=step) for _ in range(2))
    watched.observer = observer = Observer()
    for agent in (watched, alone):
        agent.train(Collector(8, seed=0, environment=ENVIRONMENT))
    assert equal(weights(watched), weights(alone))
    assert [round.number for round in observer.rounds] == [0, 1]
    assert len(observer.passes) == 2 * (1 + 2)
    improved = observer.rounds[-1].improved.weights()
    assert all(torch.equal(improved[name], value) for name, value in observer.passes[-1].items())
    assert not equal(observer.passes[0], observer.passes[1])


class Spy:
    """A solver that remembers what it was given, and changes nothing."""

    def __init__(self) -> None:
        self.given: list[tuple[LanguageModel, SingleTurnProblem]] = []

    def improve(
        self,
        reference: LanguageModel,
        problem: SingleTurnProblem,
        *,
        generator: torch.Generator,
        progress: ProgressCallback,
        watch: PolicyWatch,
    ) -> tuple[LanguageModel, dict[str, float]]:
        self.given.append((reference, problem))
        return reference, {}


@pytest.mark.parametrize("epochs", [0, 3])
def test_the_improvement_step_begins_with_an_imitator_of_the_sales(
    make_agent: MakeAgent, epochs: int
) -> None:
    imitation = Imitation(epochs=epochs, minibatch=64, learning_rate=1e-2)
    spy = Spy()
    agent = make_agent(rounds=1, imitation=imitation, improvement=spy)
    expected = agent.model.copy()
    before = weights(agent)
    report = agent.train(Collector(20, seed=0, environment={"customer": Easy}))
    [(reference, problem)] = spy.given
    sold = [episode for episode in problem.log if episode.outcome > 0]
    assert 0 < len(sold) < len(problem.log) == 18  # two are the gate's
    loss = imitation.imitate(expected, sold, generator=torch.Generator())
    assert equal(reference.weights(), expected.weights())
    assert equal(reference.weights(), before) is (epochs == 0)
    assert report.rows[0].get("imitation_loss") == loss
    # The model that held the conversations is what the gate compares with.
    assert (report.rows[0]["kl"] > 0) is (epochs > 0)


def test_exploration_takes_turns_and_keeps_its_own_logprobs(
    make_model: MakeModel, format: ConversationFormat
) -> None:
    policy = LanguageModelPolicy(make_model(layers=1, max_new_tokens=4))
    config = IterativePPOConfig(exploration=(1.0, 0.5, 2.0))
    told: list[Progress] = []
    collector = Collector(7, seed=0, environment=ENVIRONMENT)
    episodes = collect(policy, collector, 7, config, progress=told.append)
    assert [episode.seed for episode in episodes] == train_seeds(0, 7)
    done = [news.done for news in told]
    assert (done[-1], {news.total for news in told}) == (7, {7})
    assert done == sorted(done)
    right: Counter[float] = Counter()
    for place, episode in enumerate(episodes):
        batch = policy.model.collate([tokenise(episode, format)])
        logged = batch.logprobs[batch.response]
        for temperature in config.exploration:
            voice = replace(policy.model, sampling=SamplingConfig(temperature, 4))
            with torch.no_grad():
                found = voice.logprobs(batch)
            own = temperature == config.exploration[place % 3]
            assert torch.allclose(found, logged, atol=1e-4) is own
            right[temperature] += own
    assert right == {1.0: 3, 0.5: 2, 2.0: 2}


def test_the_log_corrects_the_scores_of_its_own_responses(format: ConversationFormat) -> None:
    episode = conversation(format, EASY, (GOOD, GOOD), 1.0)
    judged = ValueEstimates(
        token_values=(0.1, 0.2, 0.3, 0.4),
        values=(0.1, 0.3),
        advantages=(0.0, 0.0),
        returns=(0.5, 1.0),
    )
    found = corrected_advantages(episode, judged)
    assert found == pytest.approx((0.4, 0.3, 0.7, 0.6))


def test_earlier_rounds_weigh_less_and_by_how_likely_they_still_are(
    make_model: MakeModel, format: ConversationFormat
) -> None:
    model, other = make_model(layers=1), make_model(layers=1, seed=1)
    plain = conversation(format, EASY, (GOOD, GOOD), 1.0)
    (own,), (foreign,) = written_by(model, [plain]), written_by(other, [plain])
    recent = reused([[own], [own]], model, QFunctionConfig(reuse="recency", recency=0.5))
    assert [weighted.weights for weighted in recent] == [(0.25, 0.25), (0.5, 0.5)]
    importance = QFunctionConfig(reuse="importance")
    (same,) = reused([[own]], model, importance)
    assert same.weights == pytest.approx((1, 1), abs=1e-5)
    (less,) = reused([[foreign]], model, importance)
    batch = model.collate([foreign])
    with torch.no_grad():
        ratios = model.logprobs(batch) - batch.logprobs[batch.response]
    last, whole = float(ratios[2:].sum()), float(ratios.sum())
    expected = (math.exp(min(0, whole)), math.exp(min(0, last)))
    assert less.weights == pytest.approx(expected, rel=1e-4)
