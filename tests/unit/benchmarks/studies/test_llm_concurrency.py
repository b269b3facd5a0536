"""The concurrency figures are those of the server's latency, and stored with their conditions."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from convgym.benchmarks.studies import llm_concurrency


def test_figures_of_a_small_case() -> None:
    (figures,) = llm_concurrency.run([(4, 0.2)], steps=2)
    assert figures.answers == 8
    assert figures.seconds >= 0.4
    assert figures.answers_per_second <= 20
    assert 0 < figures.share_of_ideal <= 1
    assert figures.share_of_ideal == pytest.approx(figures.answers_per_second / 20, abs=0.02)


def test_main_prints_and_stores(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    figures = llm_concurrency.Figures(32, 0.5, 320, 5.5, 58.2, 0.91, 0.92, 0.64)
    monkeypatch.setattr(llm_concurrency, "run", lambda cases, steps: [figures])
    llm_concurrency.main(tmp_path / "figures.json")
    out = capsys.readouterr().out
    assert "32 conversations, 0.5 s an answer:   58.2 answers a second, 0.91 of ideal" in out
    assert "2.0 ms CPU an answer" in out
    facts = json.loads((tmp_path / "figures.json").read_text())
    assert facts["figures"][0]["share_of_ideal"] == 0.91
    assert {"commit", "versions", "machine"} <= set(facts)
