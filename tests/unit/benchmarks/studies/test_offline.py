"""The study of offline learners: pieces that are kept, judged both ways, and the table of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from convgym.agents.values.q_function import QFunctionConfig
from convgym.benchmarks.studies import offline
from convgym.errors import ConvgymError
from convgym.logs import read_log

TINY = {"conversations": 24, "held_out": 8, "customers": 4, "seeds": 1}


@pytest.mark.slow
def test_a_study_goes_on_where_it_was_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(offline, "AGENTS", ("bc", "filtered-bc"))
    monkeypatch.setattr(offline, "Q_FUNCTION", QFunctionConfig(epochs=1, first_steps=2))
    path = tmp_path / "offline.json"
    with pytest.raises(ConvgymError, match="unknown agent of the study 'cb'"):
        offline.main(path, agents="cb", **TINY)
    offline.main(path, agents="bc", **TINY)
    assert not path.exists()
    assert "still to be made: filtered-bc 0" in capsys.readouterr().out
    part = tmp_path / "offline.json.parts" / "bc-0.json"
    before = part.stat().st_mtime_ns
    with pytest.raises(ConvgymError, match="other settings"):
        offline.main(path, agents="bc", **{**TINY, "customers": 5})
    offline.main(path, agents="bc,filtered-bc", **TINY)
    assert part.stat().st_mtime_ns == before

    stored = json.loads(path.read_text(encoding="utf-8"))
    assert [row["agent"] for row in stored["agents"]] == ["bc", "filtered-bc"]
    assert [piece["estimate"]["verdict"] for piece in stored["pieces"]] == ["cannot judge"] * 2
    assert all(piece["estimate"]["conversations"] == 8 for piece in stored["pieces"])
    names = [row["policy"] for row in stored["references"]]
    assert names == ["mediocre seller", "small seller", "clone"]
    # The log is a stranger's: words and outcomes.
    log = read_log(tmp_path / "offline.json.parts" / "log.jsonl").episodes
    assert len(log) == 24
    assert {episode.customer for episode in log} == {"imported"}
    assert not any(turn.response.token_ids for episode in log for turn in episode.turns)


def piece(agent: str, seed: int, sold: int, **estimate: Any) -> dict[str, Any]:
    return {
        "agent": agent,
        "seed": seed,
        "purchases": sold,
        "customers": 100,
        "estimate": estimate,
        "processor_seconds": 10.0 + seed,
    }


def test_the_table_has_a_row_for_each_agent() -> None:
    known = {"verdict": "passed", "gain": 0.2, "low": 0.1, "high": 0.3, "kl": 0.5}
    pieces = [
        piece("awr", 0, 60, **known),
        piece("awr", 1, 64, **{**known, "gain": 0.3, "low": 0.2, "high": 0.4, "kl": 0.7}),
        piece("bc", 0, 40, verdict="cannot judge", reasons=["why"]),
        piece("bc", 1, 42, verdict="cannot judge", reasons=["why"]),
    ]
    awr, bc = offline.rows(pieces, clone=0.4)
    assert awr["conversion"][0] == pytest.approx(0.62)
    assert awr["conversion"][1] < 0.6 < 0.64 < awr["conversion"][2]
    assert awr["gain"] == pytest.approx(0.22)
    assert awr["estimated_gain"][0] == pytest.approx(0.25)
    assert (awr["kl"], awr["processor_seconds"]) == pytest.approx((0.6, 10.5))
    assert (bc["estimated_gain"], bc["cannot_judge"]) == (None, 2)
    lines = list(offline.table([awr, bc]))
    assert lines[2].startswith("| awr (2 seeds) | 62.0 [")
    assert lines[2].endswith("| 0.60 | 0 of 2 |")
    assert "| +1.0 |  | 0.00 | 2 of 2 |" in lines[3]
