"""What every agent in the registry must do, whatever its algorithm."""

from __future__ import annotations

import functools
import itertools
import json
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import FrozenInstanceError, dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

from convgym.agents import AGENTS, Agent, Progress, TrainingReport, make_agent
from convgym.agents.model.policy import LanguageModelPolicy
from convgym.agents.pretrain import PretrainConfig, pretrain
from convgym.agents.training.collector import Collector
from convgym.conversation import Episode
from convgym.customers import Decision, Reply
from convgym.customers.scripted.customer import ScriptedCustomer
from convgym.errors import ConvgymError
from convgym.rollout import rollout
from convgym.seeds import EVALUATION_BASE, evaluation_seeds

BUDGET = 36
SMALL: dict[str, dict[str, Any]] = {
    "bc": {"epochs": 2},
    "awr": {"q_function": {"first_steps": 4}, "imitation": {"minibatch": 8, "epochs": 1}},
    "ilql": {"epochs": 2, "minibatch": 8},
    "outcome-dpo": {"imitation": {"minibatch": 8}, "dpo": {"minibatch": 4, "learning_rate": 1e-3}},
    "expert-iteration": {"rounds": 3, "imitation": {"minibatch": 4}},
    "online-ppo": {"deployment": 16, "minibatch": 8},
    "turn-level-ppo": {"rounds": 2, "minibatch": 8},
    "trajectory-grpo": {"rounds": 2, "minibatch": 8, "group_size": 3},
    "trajectory-rloo": {"rounds": 2, "minibatch": 8, "group_size": 3, "learning_rate": 1e-3},
    "iterative-ppo": {
        "rounds": 3,
        "q_function": {"first_steps": 4},
        "gate": {"held_out": 0},  # which cannot judge by so few conversations
        "improvement": {"name": "token-ppo", "fresh_steps": 2, "fresh_conversations": 4},
    },
    "offline-iterative-ppo": {
        "q_function": {"first_steps": 4, "replies": 1, "max_reply_tokens": 8},
        "imitation": {"minibatch": 8},
        "improvement": {"name": "token-ppo", "fresh_steps": 2, "fresh_conversations": 4},
    },
    "iterative-grpo": {
        "rounds": 2,
        "q_function": {"first_steps": 4},
        "gate": {"held_out": 0},
        "improvement": {"steps": 2, "conversations": 4},
    },
}
"""Settings under which a run of a few conversations has several updates."""

Make = Callable[..., Agent]
names = pytest.mark.parametrize("name", list(AGENTS.shipped))


class Interrupted(Exception):
    """What stops a run in the middle."""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a tiny model that has heard the mediocre seller, so that some customers buy."""
    folder = tmp_path_factory.mktemp("model")
    shape = PretrainConfig(
        vocabulary=512, hidden=32, layers=1, heads=2, intermediate=32, learning_rate=1e-2
    )
    pretrain(folder, conversations=300, config=shape)
    return folder


@pytest.fixture(scope="module")
def make(model: Path) -> Make:
    return lambda name: make_agent(name, policy={"model": str(model)}, **SMALL.get(name, {}))


class Easy(ScriptedCustomer):
    """Every other one buys at its second answer: agents that learn from sales alone find some.

    Which ones depends on what they hear, so that conversations with the same customer differ.
    """

    def reset(self, seed: int, profile: Mapping[str, Any] | None = None) -> str:
        self.answers = 0
        return super().reset(seed, profile)

    def respond(self, utterance: str) -> Reply:
        self.answers += 1
        reply = super().respond(utterance)
        if self.answers == 2 and len(utterance) % 2:
            return Reply("I will take it.", Decision.BUY)
        return reply


class Market:
    """Counts the customers that are met."""

    def __init__(self) -> None:
        self.seeds: list[int] = []

    def __call__(self) -> ScriptedCustomer:
        market = self

        class Counted(Easy):
            def reset(self, seed: int, profile: Mapping[str, Any] | None = None) -> str:
                market.seeds.append(seed)
                return super().reset(seed, profile)

        return Counted()


def weights(agent: Agent) -> dict[str, torch.Tensor]:
    policy = agent.policy  # type: ignore[attr-defined]
    assert isinstance(policy, LanguageModelPolicy)
    return {name: tensor.clone() for name, tensor in policy.model.network.state_dict().items()}


def equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(one[name], other[name]) for name in one | other)


def converse(agent: Agent) -> list[Episode]:
    return rollout(agent, evaluation_seeds(0, 6), policy_seed=5)


def words_of(episodes: list[Episode]) -> list[Any]:
    turns = [(turn.response, turn.reply) for episode in episodes for turn in episode.turns]
    return [(response.text, response.token_ids, reply) for response, reply in turns]


def logprobs_of(episodes: list[Episode]) -> list[float]:
    turns = [turn for episode in episodes for turn in episode.turns]
    return [logprob for turn in turns for logprob in turn.response.token_logprobs or ()]


@dataclass(frozen=True)
class Whole:
    """A training that nobody interrupted, which several tests look at."""

    folder: Path
    market: Market
    met: tuple[int, ...]
    """Seeds of the customers."""
    news: list[Progress]
    before: dict[str, torch.Tensor]
    agent: Agent
    report: TrainingReport


def collector_of(market: Callable[[], ScriptedCustomer], **changes: Any) -> Collector:
    options: dict[str, Any] = {"conversations": BUDGET, "seed": 3}
    return Collector(**{**options, "environment": {"customer": market}, **changes})


@pytest.fixture(scope="module")
def whole(make: Make, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Whole]:
    @functools.cache
    def train(name: str) -> Whole:
        folder, market, news = tmp_path_factory.mktemp("whole"), Market(), list[Progress]()
        agent = make(name)
        before = weights(agent)
        collector = collector_of(market)
        with collector.supervised(name):
            report = agent.train(collector, folder=folder, progress=news.append)
        return Whole(folder, market, tuple(market.seeds), news, before, agent, report)

    return train


@names
def test_training_keeps_the_contract(
    name: str, make: Make, whole: Callable[[str], Whole], tmp_path: Path
) -> None:
    run = whole(name)
    met, news, agent, report = run.met, run.news, run.agent, run.report
    assert isinstance(agent, Agent)
    assert agent.name == name

    # The budget is spent on training customers and not exceeded; each is met once, or by one group.
    assert report.usage.conversations == len(met) <= BUDGET
    assert max(Counter(met).values()) == getattr(agent.config, "group_size", 1)
    assert max(met) < EVALUATION_BASE
    assert not equal(weights(agent), run.before)

    # The report is plain data that adds up.
    assert isinstance(report, TrainingReport)
    usage = report.usage
    assert 1 <= usage.deployments <= usage.conversations
    assert usage.turns >= usage.conversations
    assert (usage.branches, usage.excluded) == (0, 0)
    assert len(report.curve) == usage.deployments
    assert [point.deployments for point in report.curve] == list(range(usage.deployments))
    assert sum(point.episodes for point in report.curve) == usage.conversations
    assert all(0 <= point.conversion <= 1 for point in report.curve)
    assert all(point.conversations < usage.conversations for point in report.curve)
    assert 0 < report.seconds < 60
    assert report.rows
    for row in report.rows:
        json.dumps(dict(row), allow_nan=False)

    # Progress is told, stage by stage, and never runs backwards.
    assert news
    for one, following in itertools.pairwise(news):
        assert 0 <= one.done <= one.total
        assert following.stage != one.stage or following.done >= one.done
    assert news[-1].done == news[-1].total

    # A saved agent speaks as it did.
    said = converse(agent)
    agent.save(tmp_path / "policy")
    other = make(name)
    assert converse(other) != said
    other.load(tmp_path / "policy")
    again = converse(other)
    assert words_of(again) == words_of(said)
    # Where in memory a layer lies decides in which order its products are added up.
    assert logprobs_of(again) == pytest.approx(logprobs_of(said), abs=1e-4)
    assert all(turn.response.token_logprobs for episode in said for turn in episode.turns)


@names
def test_the_same_seed_gives_the_same_agent(
    name: str, make: Make, whole: Callable[[str], Whole]
) -> None:
    """With a folder or without one."""
    found = []
    for seed in (3, 2):
        agent = make(name)
        agent.train(collector_of(Easy, seed=seed))
        found.append(weights(agent))
    assert equal(found[0], weights(whole(name).agent))
    assert not equal(found[0], found[1])


@pytest.mark.parametrize(
    ("name", "share"),
    # At two places those that collect, learn and collect again; the others at one.
    [*((name, 0.6) for name in AGENTS.shipped), ("online-ppo", 0.2), ("iterative-ppo", 0.2)],
)
def test_a_resumed_run_ends_as_an_uninterrupted_one(
    name: str, make: Make, whole: Callable[[str], Whole], tmp_path: Path, share: float
) -> None:
    run = whole(name)
    left = share * len(run.news)

    def interrupt(progress: Progress) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise Interrupted

    with pytest.raises(Interrupted):
        make(name).train(collector_of(run.market), folder=tmp_path, progress=interrupt)
    resumed = make(name)
    again = resumed.train(collector_of(run.market), folder=tmp_path)
    assert equal(weights(resumed), weights(run.agent))
    assert _without_clock(again) == _without_clock(run.report)


@names
def test_a_finished_run_is_read_and_its_folder_takes_no_other(
    name: str, make: Make, whole: Callable[[str], Whole]
) -> None:
    """Its customers are met no second time."""
    run = whole(name)
    met, finished = len(run.market.seeds), make(name)
    done = finished.train(collector_of(run.market), folder=run.folder)
    assert len(run.market.seeds) == met
    assert _without_clock(done) == _without_clock(run.report)
    assert equal(weights(finished), weights(run.agent))

    changes: list[dict[str, Any]]
    changes = [{"seed": 5}, {"conversations": 35}, {"environment": {"max_turns": 3}}]
    for change in changes:
        with pytest.raises(ConvgymError, match="another run"):
            make(name).train(collector_of(run.market, **change), folder=run.folder)


def _without_clock(report: TrainingReport) -> Any:
    curve = [
        (point.conversations, point.deployments, point.conversion, point.episodes)
        for point in report.curve
    ]
    rows = [
        {key: value for key, value in row.items() if "seconds" not in key} for row in report.rows
    ]
    return report.usage, curve, rows, report.notes


@names
def test_failed_customers_are_neither_sales_nor_losses(name: str, make: Make) -> None:
    """A backend that is down now and then spoils no training."""
    from convgym.errors import InfrastructureError

    class Flaky(Easy):
        def reset(self, seed: int, profile: Mapping[str, Any] | None = None) -> str:
            if seed % 3 == 0:
                raise InfrastructureError("down")
            return super().reset(seed, profile)

    report = make(name).train(Collector(24, seed=1, environment={"customer": Flaky}))
    assert report.usage.conversations == 24
    assert 0 < report.usage.excluded == 24 - sum(point.episodes for point in report.curve) < 24


@names
def test_configs_are_frozen_and_checked(name: str, make: Make) -> None:
    agent = make(name)
    assert is_dataclass(agent.config)
    with pytest.raises(FrozenInstanceError):
        setattr(agent.config, fields(agent.config)[0].name, None)
    with pytest.raises(ConvgymError, match="did you mean 'temperature'"):
        make_agent(name, policy={"temprature": 1.0})
    with pytest.raises(ConvgymError, match="did you mean 'policy'"):
        make_agent(name, polcy={})
    with pytest.raises(ConvgymError, match="no model at 'nowhere'"):
        make_agent(name, policy={"model": "nowhere"})
    with pytest.raises(ConvgymError, match="from 1 upwards, got 0"):
        agent.train(Collector(0, seed=0))
    with pytest.raises(ConvgymError, match="no model at"):
        agent.load(Path("nowhere"))


def test_an_unknown_agent_is_named_with_its_neighbour() -> None:
    with pytest.raises(
        ConvgymError, match=r"unknown agent 'online_ppo'.*did you mean 'online-ppo'"
    ):
        make_agent("online_ppo")


def test_the_registry_loads_no_torch() -> None:
    code = "import sys, convgym.agents; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
