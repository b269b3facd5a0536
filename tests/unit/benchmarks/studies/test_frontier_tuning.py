"""Equal tuning: as many settings of each agent, all of which can be made, of the same budget."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from convgym.agents import make_agent
from convgym.benchmarks.runs.frontier import FRONTIER
from convgym.benchmarks.runs.suites import agent_of
from convgym.benchmarks.studies import frontier_tuning
from convgym.benchmarks.studies.frontier_tuning import GRID, ROUNDS, main
from convgym.errors import ConvgymError


def test_every_agent_of_the_frontier_has_as_many_settings() -> None:
    sizes = {family: len(settings) for family, settings in GRID.items()}
    # Its four were tried with two lengths of its first fit.
    assert sizes.pop("iterative-ppo") == 4
    assert set(sizes.values()) == {8}
    agents = {agent_of(name) for name in FRONTIER.agents}
    assert {agent_of(family) for family in GRID} == agents


@pytest.mark.parametrize("family", GRID)
def test_all_settings_can_be_made_and_differ(family: str) -> None:
    configs = [make_agent(agent_of(family), rounds=ROUNDS, **each).config for each in GRID[family]]
    assert all(config != other for i, config in enumerate(configs) for other in configs[:i])


def test_every_setting_gets_a_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frontier_tuning, "GRID", {"expert-iteration": GRID["expert-iteration"][:2]})
    path = tmp_path / "found.json"
    main(path, family="expert-iteration", customers=8, budget=8)
    found = json.loads(path.read_text())
    assert [row["settings"] for row in found["rows"]] == list(GRID["expert-iteration"][:2])
    assert all(len(row["curve"]) == ROUNDS for row in found["rows"])
    main(path.with_name("rest.json"), family="expert-iteration", customers=8, budget=8, skip=1)
    rest = json.loads(path.with_name("rest.json").read_text())
    assert [row["settings"] for row in rest["rows"]] == list(GRID["expert-iteration"][1:2])
    with pytest.raises(ConvgymError, match="unknown family 'letter'"):
        main(tmp_path / "other.json", family="letter")
