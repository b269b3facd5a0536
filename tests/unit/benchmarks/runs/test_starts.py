"""Starts: each agent is compared with what it was itself before training."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from convgym.benchmarks.report.write import write_report
from convgym.benchmarks.runs.folder import read_results
from convgym.benchmarks.runs.runner import run_suite
from convgym.benchmarks.runs.scores import scores
from convgym.benchmarks.runs.starts import USUAL, Start, policy_settings, starts_of
from convgym.benchmarks.runs.suites import START, Suite, jobs
from tests.unit.benchmarks.conftest import World


def config(rate: float = 0.1, **changes: Any) -> dict[str, Any]:
    """Return an agent's config as plain data."""
    return {"rate": rate, "policy": {**USUAL, "device": "cpu", **changes}}


def test_the_usual_settings_are_those_of_every_shipped_agent() -> None:
    pytest.importorskip("torch")
    from convgym.agents import AGENTS, make_agent

    for name in AGENTS.shipped:
        assert policy_settings(asdict(make_agent(name).config)) == dict(USUAL)


def test_agents_that_begin_alike_share_a_start() -> None:
    other = config(temperature=0.5)
    starts = starts_of(
        {
            "bc": config(),
            "ppo": other,
            "filtered": config(rate=1, device="cuda"),
            "two": other,
        }
    )
    assert starts == {
        "bc": Start(START, "bc"),
        "filtered": Start(START, "bc"),
        "ppo": Start(f"{START} temperature=0.5", "ppo"),
        "two": Start(f"{START} temperature=0.5", "ppo"),
    }


def test_a_start_is_named_after_its_settings() -> None:
    configs = {
        "a": config(model="smollm2"),
        "b": config(model="/models/mine", max_new_tokens=40),
        "c": config(model="/others/mine", max_new_tokens=40),
        "d": config(system_message="You sell bicycles and are brief about it."),
        "e": config(model="models/\x1b[2J" + 80 * "x"),
        "f": config(system_message="\n"),
    }
    assert {agent: start.name for agent, start in starts_of(configs).items()} == {
        "a": "smollm2",
        "b": "mine max_new_tokens=40",
        "c": "mine max_new_tokens=40-of-c",
        "d": f"{START} other-system_message",
        "e": "--2J" + 56 * "x",
        "f": f"{START} other-system_message-of-f",
    }


def test_an_agent_of_other_settings_has_a_start_of_its_own() -> None:
    starts = starts_of({"bc": config(), "mine": {"rate": 1}, "other": {"rate": 1}})
    assert [start.name for start in starts.values()] == [START, "start-of-mine", "start-of-other"]


def test_the_gain_of_an_agent_is_over_its_own_start(
    tmp_path: Path, suite: Suite, world: World
) -> None:
    suite = replace(
        suite, overrides={"online-ppo": {"policy": {"temperature": 3.0}}}, evaluation_episodes=200
    )
    results = run_suite(suite, tmp_path, parts=world)
    other = f"{START} temperature=3.0"
    assert [result.job for result in results] == jobs(suite, 0, starts=[START, other])
    assert [name for name, _, _ in world.held][2:4] == [START, START]
    rows = {result.job.label: result for result in read_results(tmp_path)}
    assert rows["bc-seed0"].start == START and rows["online-ppo-seed0"].start == other
    assert rows["silent"].start is None
    found = {score.name: score for score in scores(results)}
    assert found[other].conversion.value > 2 * found[START].conversion.value
    for agent, start in (("bc", START), ("online-ppo", other)):
        gain = found[agent].gain
        assert gain is not None
        difference = found[agent].conversion.value - found[start].conversion.value
        assert gain.value == pytest.approx(difference)
    written = write_report(tmp_path)
    note = f"own start: {START} (bc); {other} (online-ppo)."
    assert any(note in sentence for sentence in written.notes)
    assert note in written.page.read_text(encoding="utf-8")
    log = (tmp_path / "conversations" / "small-seller-temperature=3.0.jsonl").read_text()
    assert f'"policy":"{other}"' in log


def test_rows_of_earlier_versions_have_one_start_for_all(
    tmp_path: Path, suite: Suite, world: World
) -> None:
    results = run_suite(suite, tmp_path, parts=world)
    earlier = [replace(result, start=None) for result in results]
    assert [s.gain for s in scores(earlier)] == [s.gain for s in scores(results)]
    assert scores(earlier)[-1].gain is not None
