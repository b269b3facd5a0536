"""The suite and the agent of the documentation run as they stand there."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from convgym.agents import make_agent
from convgym.benchmarks.runs.folder import read_results
from convgym.benchmarks.runs.runner import run_suite
from convgym.benchmarks.runs.suite_file import SuiteFile
from convgym.benchmarks.runs.suites import get_suite, select
from convgym.rollout import rollout
from convgym.sellers import make_seller

DOCS = Path(__file__).parents[2] / "docs"


def blocks(document: str, language: str) -> list[str]:
    text = (DOCS / document).read_text(encoding="utf-8")
    return re.findall(rf"```{language}\n(.*?)```", text, flags=re.DOTALL)


@pytest.fixture
def chooser(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The agent of own_agent.md, where Python finds it."""
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "chooser.py").write_text(blocks("own_agent.md", "python")[0])
    monkeypatch.delitem(sys.modules, "chooser", raising=False)


@pytest.mark.usefixtures("chooser")
def test_the_agent_runs_beside_the_sellers(tmp_path: Path) -> None:
    suite = select(
        get_suite("smoke"),
        agents=["chooser:Chooser"],
        settings=[("chooser:Chooser.share", 0.75)],
    )
    run_suite(suite, tmp_path / "out")
    rows = {result.job.name: result for result in read_results(tmp_path / "out")}
    assert rows["chooser:Chooser"].conversations == 48
    assert rows["chooser:Chooser"].deployments == 3
    policy = tmp_path / "out" / "agents" / "chooser-Chooser-seed0" / "policy"
    agent: Any = make_agent("chooser:Chooser")
    agent.load(policy)
    assert json.loads((policy / "chosen.json").read_text()) == agent.chosen == "competent"


@pytest.mark.slow
def test_the_suite_of_the_documentation_runs(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    (tmp_path / "my-suite.toml").write_text(blocks("own_suite.md", "toml")[0])
    # Fewer steps than by default, set as a reader would: what is fitted well is no matter here.
    few = [("q_function.first_steps", 4), ("improvement.fresh_conversations", 4)]
    suite = select(
        get_suite(str(tmp_path / "my-suite.toml")),
        settings=[(f"iterative-ppo.{name}", value) for name, value in few],
    )
    run_suite(suite, tmp_path / "out")
    rows = {result.job.name: result for result in read_results(tmp_path / "out")}
    assert list(rows) == ["mediocre", "competent", "small-seller", "online-ppo", "iterative-ppo"]
    assert (rows["online-ppo"].deployments, rows["iterative-ppo"].deployments) == (4, 3)


def test_every_field_of_a_suite_is_documented() -> None:
    text = (DOCS / "own_suite.md").read_text(encoding="utf-8")
    assert re.findall(r"^\| `(\w+)` \| .* \| .* \|$", text, flags=re.MULTILINE) == list(
        SuiteFile.model_fields
    )


@pytest.mark.parametrize("name", ["Gardener", "Remote", "Slow", "Chorus"])
def test_the_customers_of_the_documentation_are_met(name: str) -> None:
    (code,) = (text for text in blocks("own_customer.md", "python") if f"class {name}:" in text)
    scope: dict[str, Any] = {}
    exec(code, scope)
    customer = scope.get("patient", scope[name])
    episodes = rollout(
        make_seller("silent"), range(6), environment={"customer": customer, "max_turns": 5}
    )
    assert all(episode.valid and len(episode.turns) >= 4 for episode in episodes)
