"""The example agent: installed as a user would, trained and judged beside ours."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.packaging.plugins import EXAMPLES, convgym, install, python

PLUGIN = EXAMPLES / "agent_plugin"


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return install(PLUGIN, tmp_path_factory.mktemp("phrasebook"))


def test_it_is_listed_and_nothing_of_it_imported(installed: Path) -> None:
    done = convgym(installed, "list", "agents")
    assert done.returncode == 0, done.stderr
    (line,) = (line for line in done.stdout.splitlines() if "phrasebook" in line)
    assert "An agent that learns when to say which phrase" in line
    assert "(package convgym-phrasebook)" in line


def test_bench_runs_it_with_settings(installed: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    arguments = "bench smoke --sellers silent --agents phrasebook,convgym_phrasebook:Phrasebook"
    settings = ["--set", "phrasebook.deployments=4", "--output", str(out)]
    done = convgym(installed, *arguments.split(), *settings)
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in (out / "results.jsonl").read_text().splitlines()]
    agents = [row for row in rows if row["kind"] == "agent"]
    assert [row["name"] for row in agents] == ["phrasebook", "convgym_phrasebook:Phrasebook"]
    assert [row["deployments"] for row in agents] == [4, 8]
    assert [row["conversations"] for row in agents] == [64, 64]
    assert (out / "agents" / "phrasebook-seed0" / "policy" / "table.json").exists()


def test_a_setting_that_it_has_not_is_told_in_one_line(installed: Path, tmp_path: Path) -> None:
    arguments = "bench smoke --agents phrasebook --set phrasebook.deployment=4 --output".split()
    done = convgym(installed, *arguments, str(tmp_path / "out"))
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert "unknown setting of agent 'phrasebook' 'deployment'" in done.stderr
    assert not (tmp_path / "out").exists()


def test_it_learns_is_saved_and_loaded(installed: Path, tmp_path: Path) -> None:
    program = f"""
from pathlib import Path
from convgym.agents import make_agent
from convgym.rollout import rollout
from convgym.seeds import evaluation_seeds

agent, twin = make_agent("phrasebook"), make_agent("phrasebook")
for learner in (agent, twin):
    learner.train(conversations=1024, seed=0)
assert agent.table == twin.table
agent.save(Path({str(tmp_path)!r}))
loaded = make_agent("phrasebook")
loaded.load(Path({str(tmp_path)!r}))
for policy in (make_agent("phrasebook"), loaded):
    episodes = rollout(policy, evaluation_seeds(0, 200))
    print(sum(episode.converted for episode in episodes) / len(episodes))
"""
    before, after = map(float, python(program, installed).splitlines())
    assert before < 0.1 and after > 0.5


def test_its_readme_shows_what_is_tested() -> None:
    readme = (PLUGIN / "README.md").read_text(encoding="utf-8")
    assert "convgym list agents" in readme and "--set phrasebook.deployments=4" in readme
