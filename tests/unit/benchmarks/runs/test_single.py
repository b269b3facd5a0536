"""One agent trained by itself: resumed, and shown when finished."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from convgym.agents.training.collector import Collector
from convgym.benchmarks.runs import single
from convgym.benchmarks.runs.single import train_one
from convgym.errors import ConvgymError
from convgym.logs import write_log
from convgym.rollout import rollout
from convgym.seeds import evaluation_seeds
from convgym.sellers import make_seller
from tests.unit.benchmarks.conftest import StubAgent, StubConfig, World


@pytest.fixture
def agents(monkeypatch: pytest.MonkeyPatch) -> World:
    """Agents are stand-ins, which break where the world says."""
    world = World()

    def make(name: str, **settings: Any) -> StubAgent:
        return StubAgent(name, StubConfig(**settings), world.before_step)

    monkeypatch.setattr(single, "make_agent", make)
    return world


def collector(seed: int = 0) -> Collector:
    return Collector(40, seed=seed)


def test_a_training_goes_on_and_is_shown_when_it_is_finished(agents: World, tmp_path: Path) -> None:
    steps: list[int] = []

    def stop(name: str, seed: int, step: int) -> None:
        steps.append(step)
        if step == 2 and steps.count(2) == 1:
            raise KeyboardInterrupt

    agents.before_step = stop
    folder = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        train_one("bc", {"rate": 0.2}, collector(), folder)
    report = train_one("bc", {"rate": 0.2}, collector(), folder)
    assert steps == [0, 1, 2, 2, 3]
    assert (folder / "policy" / "weights").read_text() == "bc"
    assert [point["conversations"] for point in report["curve"]] == [10, 20, 30, 40]
    assert report["usage"]["conversations"] == 40 and report["config"]["rate"] == 0.2
    again = train_one("bc", {"rate": 0.2}, collector(), folder)
    assert again["rows"] == report["rows"] and len(steps) == 5


@pytest.mark.parametrize(
    ("settings", "seed", "different"), [({"rate": 0.3}, 0, "settings"), ({"rate": 0.2}, 1, "seed")]
)
def test_a_folder_of_another_training_is_refused(
    agents: World, tmp_path: Path, settings: dict[str, float], seed: int, different: str
) -> None:
    train_one("bc", {"rate": 0.2}, collector(), tmp_path / "out")
    with pytest.raises(ConvgymError, match=rf"another training \({different} differs\)"):
        train_one("bc", settings, collector(seed), tmp_path / "out")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("words")
    with pytest.raises(ConvgymError, match="never overwritten"):
        train_one("bc", {}, collector(), tmp_path / "mine")


def test_a_log_that_nobody_read_is_told(agents: World, tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    write_log(log, rollout(make_seller("silent"), [3]))
    offline = Collector(40, seed=0, log=log)
    report = train_one("online-ppo", {}, offline, tmp_path / "out")
    assert "was not read" in report["notes"][0]


def test_a_log_that_cannot_be_read_claims_no_folder(agents: World, tmp_path: Path) -> None:
    offline = Collector(40, seed=0, log=tmp_path / "mistyped.jsonl")
    with pytest.raises(ConvgymError, match="cannot read the log"):
        train_one("bc", {}, offline, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    # Wherever in it the mistake is.
    seeds = [3, *evaluation_seeds(0, 1)]
    write_log(tmp_path / "mistyped.jsonl", rollout(make_seller("silent"), seeds))
    with pytest.raises(ConvgymError, match="reserved for evaluation"):
        train_one("bc", {}, offline, tmp_path / "out")
    assert not (tmp_path / "out").exists()
