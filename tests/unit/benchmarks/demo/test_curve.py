"""The learning curve of stored runs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from convgym.benchmarks.demo.curve import curve_page
from convgym.benchmarks.runs.reading import read_results
from convgym.errors import ConvgymError

RESULTS = Path(__file__).parents[4] / "benchmarks/results"


def test_a_line_a_training_run_ends_where_it_was_judged() -> None:
    run = RESULTS / "standard-iterative"
    html = curve_page([run])
    wide, narrow = html.split("<svg")[1:]
    lines = re.findall(r'<polyline points="([^"]+)"', wide)
    rows = [row for row in read_results(run) if row.job.kind == "agent"]
    assert len(lines) == len(rows) == len(re.findall("<polyline", narrow)) == 5
    height, top, bottom = 380, 14, 46
    ends = {f"{top + (height - top - bottom) * (1 - r.conversions / r.episodes):.1f}" for r in rows}
    assert {line.rpartition(",")[2] for line in lines} == ends
    assert "iterative-ppo" in html and "small-seller (before training)" in html.replace("</b>", "")
    assert "80.3 [77.6, 83.0]" in html and "5 training runs: 80%" in html


def test_runs_without_agents_are_a_table() -> None:
    html = curve_page([RESULTS / "ladder"])
    assert "<svg" not in html and "competent" in html and "90.1 [89.5, 90.7]" in html


def test_what_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(ConvgymError, match="holds no results"):
        curve_page([tmp_path])
