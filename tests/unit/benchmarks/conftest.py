"""A stand-in for everything that a run is made of: no torch, no customer, exact outcomes."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from convgym.agents.model.config import PolicyConfig
from convgym.agents.protocol import CurvePoint, TrainingReport, Usage
from convgym.agents.training.collector import Collector
from convgym.benchmarks.runs.suites import START, Suite, agent_of
from convgym.conversation import Episode, Outcome, Response, Turn
from convgym.errors import unknown
from convgym.policy import Conversation
from convgym.progress import Progress, ProgressCallback, no_progress

SKILL = {"silent": 0.0, "competent": 0.9, START: 0.2, "bc": 0.3, "online-ppo": 0.8}

SUITE = Suite(
    "tiny",
    "A suite for tests <of> everything & more.",
    sellers=("silent", "competent"),
    agents=("bc", "online-ppo"),
    conversations=40,
    evaluation_episodes=50,
    training_seeds=2,
)


@dataclass(frozen=True)
class StubConfig:
    rate: float = 0.1
    policy: PolicyConfig = field(default_factory=PolicyConfig)


def nothing(*_: object) -> None:
    """Do nothing, where a test breaks in."""


@dataclass
class StubPolicy:
    name: str

    def reset(self, seed: int) -> None:
        pass

    def act(self, conversations: Sequence[Conversation]) -> list[Response]:
        return [Response("<b>hello</b>") for _ in conversations]


@dataclass
class StubAgent(StubPolicy):
    """Trains in four steps and keeps a checkpoint of how far it is."""

    config: StubConfig = field(default_factory=StubConfig)
    before_step: Callable[[str, int, int], None] = nothing
    overspend: int = 0
    trained: bool = False

    def train(
        self,
        collector: Collector,
        *,
        folder: Path | None = None,
        progress: ProgressCallback = no_progress,
    ) -> TrainingReport:
        assert folder is not None
        folder.mkdir(parents=True, exist_ok=True)
        checkpoint = folder / "steps.json"
        steps = json.loads(checkpoint.read_text()) if checkpoint.exists() else []
        for step in range(len(steps), 4):
            self.before_step(self.name, collector.seed, step)
            steps.append(random.Random(collector.seed * 10 + step).random())
            checkpoint.write_text(json.dumps(steps))
            progress(Progress("collect", step + 1, 4, {"conversion": steps[-1]}))
        self.trained = True
        each = collector.budget // 4
        # Nobody is met here: a stand-in says what the door to customers would have counted.
        collector.usage = Usage(
            conversations=collector.budget + self.overspend,
            turns=3 * collector.budget,
            deployments=4,
        )
        return TrainingReport(
            usage=collector.usage,
            seconds=1.5,
            curve=tuple(
                CurvePoint((i + 1) * each, i + 1, value, each, 0.1) for i, value in enumerate(steps)
            ),
            rows=tuple({"step": i, "loss": value} for i, value in enumerate(steps)),
        )

    def save(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        (folder / "weights").write_text(self.name)

    def load(self, folder: Path) -> None:
        pass


@dataclass
class World:
    """The parts as stand-ins, with knobs to break them and a record of what was asked of them."""

    before_step: Callable[[str, int, int], None] = nothing
    before_rollout: Callable[[str], None] = nothing
    overspend: int = 0
    failures: Mapping[str, int] = field(default_factory=dict)
    held: list[tuple[str, tuple[int, ...], dict[str, Any]]] = field(default_factory=list)

    def make_seller(
        self, name: str, environment: Mapping[str, Any], /, **options: Any
    ) -> StubPolicy:
        if name not in SKILL:
            raise unknown("seller", name, SKILL)
        return StubPolicy(name)

    def make_agent(self, name: str, overrides: Mapping[str, Any]) -> StubAgent:
        if agent_of(name) not in SKILL:
            raise unknown("agent", name, SKILL)
        config = dict(overrides)
        if "policy" in config:
            config["policy"] = PolicyConfig(**config["policy"])
        return StubAgent(agent_of(name), StubConfig(**config), self.before_step, self.overspend)

    def rollout(
        self,
        policy: Any,
        seeds: Sequence[int],
        *,
        policy_seed: int = 0,
        environment: Mapping[str, Any] | None = None,
        progress: ProgressCallback = no_progress,
    ) -> list[Episode]:
        name = policy.name if getattr(policy, "trained", True) else START
        skill = SKILL[name]
        if name == START:  # who tries more things sells more, for the sake of a difference
            skill *= policy.config.policy.temperature
        self.before_rollout(name)
        self.held.append((name, tuple(seeds), dict(environment or {})))
        episodes = []
        for index, seed in enumerate(seeds):
            sold = random.Random(seed + policy_seed).random() < skill
            outcome: Outcome = "purchase" if sold else "walk_away"
            if index < self.failures.get(name, 0):
                outcome = "infrastructure_failure"
            turns = (Turn(Response("<script>alert(1)</script>"), "no & thanks"),) * (1 + sold)
            episodes.append(Episode(seed, "Hello, <i>shop</i>", turns, outcome, "stub", name))
            progress(Progress("conversations", index + 1, len(seeds)))
        return episodes


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def suite() -> Suite:
    return SUITE
