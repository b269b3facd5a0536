"""Agents by name, anybody's own beside ours, and what they owe."""

from __future__ import annotations

import math
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from convgym.agents import AGENTS, make_agent
from convgym.agents.model.config import PolicyConfig
from convgym.agents.settings import configured
from convgym.errors import ConvgymError

OWN = '''
from dataclasses import dataclass
from convgym.conversation import Response

@dataclass(frozen=True)
class Settings:
    """Its settings."""
    rate: float = 0.5
    steps: int = 3

class Mine:
    Config = Settings
    def __init__(self, config, name):
        self.config, self.name = config, name
    def reset(self, seed): ...
    def act(self, conversations):
        return [Response("Hello.") for _ in conversations]
    def train(self, *args, **options): ...
    def save(self, folder): ...
    def load(self, folder): ...

class Odd(Mine):
    def train(self, budget, teacher): ...

class Half:
    Config = Settings
    def __init__(self, config, name):
        self.name = name

class Forgetful(Mine):
    def __init__(self, config, name):
        self.config, self.name = {}, name

class WithoutConfig(Mine):
    Config = None

class WithoutName(Mine):
    def __init__(self, config): ...

class Demanding(Mine):
    @dataclass
    class Config:
        size: int

class Broken(Mine):
    def __init__(self, config, name):
        raise TypeError("my own mistake")

number = 3
'''


@pytest.fixture(autouse=True)
def own_agents(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "own_agents.py").write_text(OWN)
    monkeypatch.delitem(sys.modules, "own_agents", raising=False)


def test_an_agent_of_ones_own() -> None:
    agent = make_agent("own_agents:Mine", rate=1, steps=4)
    assert agent.name == "own_agents:Mine"
    assert (agent.config.rate, agent.config.steps) == (1.0, 4)


def test_a_shipped_name_has_its_settings() -> None:
    pytest.importorskip("torch")
    agent = make_agent("filtered-bc")
    assert agent.config.filter_converted and agent.config.epochs == 2
    assert make_agent("filtered-bc", epochs=1).config.epochs == 1
    assert not make_agent("bc").config.filter_converted


def test_settings_within_settings() -> None:
    pytest.importorskip("torch")
    config: Any = make_agent(
        "iterative-ppo", q_function={"epochs": 2}, gate={"held_out": 0}, improvement={"epochs": 7}
    ).config
    assert (config.q_function.epochs, config.gate.held_out, config.improvement.epochs) == (2, 0, 7)
    with pytest.raises(ConvgymError, match=r"'epoch'.*did you mean 'epochs'"):
        make_agent("iterative-ppo", q_function={"epoch": 2})


@pytest.mark.parametrize(
    ("name", "overrides", "told"),
    [
        ("online_ppo", {}, "unknown agent 'online_ppo'; known: .*mean 'online-ppo'"),
        ("own_agents:Mine", {"rat": 1}, "unknown setting of agent 'own_agents:Mine' 'rat'"),
        ("own_agents:Mine", {"steps": "x"}, "setting 'steps' of agent 'own_agents:Mine' should"),
        ("own_agents:number", {}, "agent 'own_agents:number' must be a class, got '3'"),
        ("own_agents:WithoutConfig", {}, "needs a class attribute Config, .*got None"),
        ("own_agents:Settings", {}, "needs a class attribute Config"),
        ("own_agents:WithoutName", {}, r"cannot make agent 'own_agents:WithoutName'\(config\)"),
        ("own_agents:Demanding", {}, "needs a default: Config has none for size"),
        ("own_agents:Half", {}, "is no agent: it lacks act, config, load, reset, save, train"),
        ("own_agents:Odd", {}, r"is no agent: it has train\(budget, teacher\), where train\("),
        ("own_agents:Forgetful", {}, "its config must be the one it was made with, got '{}'"),
        ("own_agents:Nobody", {}, "module 'own_agents' has no agent 'Nobody'"),
    ],
)
def test_mistakes(name: str, overrides: dict[str, Any], told: str) -> None:
    with pytest.raises(ConvgymError, match=told) as caught:
        make_agent(name, **overrides)
    assert "\n" not in str(caught.value)


def test_a_bug_inside_is_its_own() -> None:
    with pytest.raises(TypeError, match="my own mistake"):
        make_agent("own_agents:Broken")


def test_names_and_summaries_load_no_algorithm() -> None:
    code = (
        "import sys\n"
        "from convgym.agents import AGENTS\n"
        "assert all(AGENTS.summary(name) for name in AGENTS.names())\n"
        "assert not {'torch', 'pydantic'} & {*sys.modules}\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    assert len(AGENTS.shipped) >= 4


def test_the_documented_deployments_are_the_defaults() -> None:
    text = (Path(__file__).parents[3] / "docs" / "agents.md").read_text("utf-8")
    rows = dict(re.findall(r"^\| `([\w-]+)` \| [^|]+ \| ([^|]+) \| [^|]+ \|$", text, re.MULTILINE))
    assert set(rows) == set(AGENTS.shipped)
    for name, deployments in rows.items():
        config: Any = configured(AGENTS.resolve(name).Config(), AGENTS.settings(name), name)
        if deployments.startswith("budget / "):
            assert (config.rounds, f"budget / {config.deployment}") == (None, deployments), name
        else:
            assert getattr(config, "rounds", 1) == int(deployments), name


@pytest.mark.parametrize("value", [-1, -0.5, math.nan, math.inf])
@pytest.mark.parametrize(
    ("agent", "setting"),
    [
        ("bc", "learning_rate"),
        ("filtered-bc", "epochs"),
        ("online-ppo", "learning_rate"),
        ("online-ppo", "clip"),
        ("online-ppo", "gamma"),
        ("iterative-ppo", "rounds"),
    ],
)
def test_hyperparameters_that_cannot_be(agent: str, setting: str, value: float) -> None:
    with pytest.raises(ConvgymError, match=setting):
        make_agent(agent, **{setting: value})


@pytest.mark.parametrize(
    "policy",
    [
        {"device": "gpu0"},
        {"device": None},
        {"temperature": "hot"},
        {"temperature": math.inf},
        {"max_new_tokens": "5"},
        {"max_new_tokens": 5.5},
        {"generation_batch": "5"},
        {"generation_batch": True},
        {"model": 5},
        {"model": ""},
        {"system_message": 5},
        {"lora": "yes"},
    ],
)
def test_policies_that_cannot_be(policy: dict[str, Any]) -> None:
    (name,) = policy
    with pytest.raises(ConvgymError, match=name):
        PolicyConfig(**policy)
