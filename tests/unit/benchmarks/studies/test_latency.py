"""The study of latency: the times that it draws, and a small run of every way."""

from __future__ import annotations

import json
import statistics
from pathlib import Path

import pytest

from convgym.benchmarks.studies import latency
from convgym.errors import ConvgymError


def test_replies_take_two_seconds_and_one_in_a_hundred_eight() -> None:
    case = latency.Case(conversations=600)
    delays = [delay for seed in case.seeds for delay in case.delays(seed)]
    assert statistics.mean(delays) == pytest.approx(2.0, rel=0.05)
    assert statistics.quantiles(delays, n=100)[-1] == pytest.approx(8.0, rel=0.1)
    assert case.delays(3) == case.delays(3)


def test_lock_step_waits_for_the_slowest(monkeypatch: pytest.MonkeyPatch) -> None:
    case = latency.Case(conversations=3, at_once=2, turns=1)
    times = dict(zip(case.seeds, ([1.0, 5.0], [2.0, 3.0], [4.0, 4.0]), strict=True))
    monkeypatch.setattr(latency.Case, "delays", lambda self, seed: times[seed])
    assert latency.lock_step_seconds(case) == 2 + 5 + 4 + 4


def test_every_way_holds_the_conversations_and_is_stored(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    latency.main(tmp_path / "new.json", conversations=6, at_once=3, scale=0.02)
    out = capsys.readouterr().out
    facts = json.loads((tmp_path / "new.json").read_text())
    rows = {row["way"]: row for row in facts["figures"]}
    assert list(rows) == ["ideal", "async", "threads", "chat", "send_recv", "lock_step"]
    assert rows["ideal"]["share_of_ideal"] == 1.0
    assert 0.1 < rows["async"]["share_of_ideal"] < 1.1
    assert all(0 < row["share_of_ideal"] < 1.1 for row in rows.values())
    assert "ideal:" in out
    assert facts["case"]["at_once"] == 3


@pytest.mark.parametrize("wrong", [{"conversations": 0}, {"scale": 0.0}])
def test_mistakes(wrong: dict[str, float]) -> None:
    with pytest.raises(ConvgymError, match=r"1 or more|positive"):
        latency.Case(**wrong)  # type: ignore[arg-type]
