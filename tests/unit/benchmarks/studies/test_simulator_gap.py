"""The study of what training with an imitation is worth."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from convgym.benchmarks.studies import simulator_gap
from convgym.benchmarks.studies.simulator_gap import WatchedCollector
from convgym.errors import ConvgymError
from convgym.sellers import make_seller
from tests.unit.agents.learned import tiny_learned_customer


def test_policies_are_judged_by_the_original_before_they_are_deployed(tmp_path: Path) -> None:
    def collector() -> WatchedCollector:
        return WatchedCollector(
            12, seed=3, customer={"customer": "scripted"}, folder=tmp_path, watchers=5
        )

    first = collector()
    first.deploy(make_seller("silent"), 6)
    first.deploy([make_seller("competent"), make_seller("silent")], 6)
    assert [row["conversations"] for row in first.watched] == [0, 6]
    assert [row["customers"] for row in first.watched] == [5, 5]
    assert first.watched[0]["purchases"] == 0 < first.watched[1]["purchases"]
    again = collector()
    again.deploy(make_seller("silent"), 6)  # a run that goes on has been judged there
    assert again.watched == first.watched


def piece(trained_with: str, seed: int, learned: int, scripted: int) -> dict[str, Any]:
    judged = {"learned": learned, "scripted": scripted}
    return {
        "agent": "online-ppo",
        "seed": seed,
        "trained_with": trained_with,
        "judged_by": {
            who: {"purchases": sold, "customers": 100, "outcomes": "p" * sold + "w" * (100 - sold)}
            for who, sold in judged.items()
        },
    }


def test_the_gap_is_that_between_the_judges() -> None:
    pieces = [
        piece("learned", 0, 90, 60),
        piece("learned", 1, 94, 56),
        piece("scripted", 0, 70, 80),
    ]
    cheated, honest = simulator_gap.rows(pieces)
    assert (cheated["trained_with"], cheated["seeds"]) == ("learned", 2)
    assert cheated["learned"][0] == pytest.approx(0.92)
    assert cheated["scripted"][0] == pytest.approx(0.58)
    assert cheated["gap"][0] == pytest.approx(0.34)
    assert cheated["gap"][1] < 0.34 < cheated["gap"][2]
    assert honest["gap"][0] == pytest.approx(-0.1)
    assert honest["gap"][1] < -0.1 < honest["gap"][2] < 0
    lines = list(simulator_gap.table([cheated, honest]))
    assert lines[2].startswith("| online-ppo (2 seeds) | learned | 92.0 [")
    assert "| +34.0 [" in lines[2]


@pytest.mark.slow
def test_a_study_goes_on_where_it_was_stopped(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "gap.json"
    tiny: dict[str, Any] = {"conversations": 16, "customers": 4, "watchers": 2, "seeds": 1}
    options: dict[str, Any] = {"agents": "expert-iteration", "model": tiny_learned_customer()}
    with pytest.raises(ConvgymError, match="unknown agent of the study 'bc'"):
        simulator_gap.main(path, **options, agents_now="bc", **tiny)
    simulator_gap.main(path, **options, seeds_now="7", **tiny)
    assert "still to be made: expert-iteration 0 learned, " in capsys.readouterr().out
    with pytest.raises(ConvgymError, match="other settings"):
        simulator_gap.main(path, **options, **{**tiny, "customers": 5})
    simulator_gap.main(path, **options, **tiny)
    stored = json.loads(path.read_text())
    assert [(row["agent"], row["trained_with"]) for row in stored["agents"]] == [
        ("start", ""),
        ("expert-iteration", "learned"),
        ("expert-iteration", "scripted"),
    ]
    for each in stored["pieces"]:
        assert len(each["while_training"]) == 8
        assert each["while_training"][0]["original"]["customers"] == 2
