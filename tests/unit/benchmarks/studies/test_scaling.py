"""The study of scaling: what is compared, and what it says of it; the runs are a stand-in."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from convgym.benchmarks.runs.suite_file import read_suite
from convgym.benchmarks.studies import scaling
from convgym.errors import ConvgymError


def test_the_suite_is_one_that_bench_reads(tmp_path: Path) -> None:
    file = tmp_path / "scaling.toml"
    file.write_text(scaling.suite_text("bc", 3, 40, 20))
    suite = read_suite(file)
    assert (suite.agents, suite.training_seeds) == (("bc",), 3)
    assert (suite.conversations, suite.evaluation_episodes) == (40, 20)


def test_speed_is_told_against_one_process() -> None:
    rows = scaling.table({"one process": [20.0, 10.0, 12.0], "--jobs 2": [6.0, 5.0, 9.0]})
    assert [(row["way"], row["seconds"], row["speedup"]) for row in rows] == [
        ("one process", 12.0, 1.0),
        ("--jobs 2", 6.0, 2.0),
    ]


def test_ways_take_turns_and_rows_are_compared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    order: list[str] = []

    def run(way: scaling.Way, suite: Path, output: Path) -> float:
        order.append(way.name)
        output.mkdir()
        outcomes = "pp" if "ray" in way.name else "pw"
        row = {"name": "bc", "outcomes": outcomes, "train_seconds": len(order)}
        (output / "results.jsonl").write_text(json.dumps(row) + "\n")
        return 10.0 / (1 + len(way.arguments))

    monkeypatch.setattr(scaling, "run", run)
    monkeypatch.setattr(scaling, "has_ray", lambda: True)
    scaling.main(tmp_path / "scaling.json", rounds=2)
    names = [way.name for way in scaling.ways(2, with_ray=True)]
    assert order == names * 2
    stored = json.loads((tmp_path / "scaling.json").read_text())
    assert [row["same_rows"] for row in stored["ways"]] == [True, True, True, False]
    assert stored["commit"] and stored["processes"] == 2
    assert "DIFFER" in capsys.readouterr().out


def test_a_way_that_fails_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConvgymError, match=r"one process failed: .*error: .*nowhere\.toml"):
        scaling.run(scaling.Way("one process"), tmp_path / "nowhere.toml", tmp_path / "out")
