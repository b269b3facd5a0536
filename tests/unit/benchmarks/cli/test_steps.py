"""Who speaks: a language model by its folder or name, or a seller."""

from __future__ import annotations

from pathlib import Path

import pytest

from convgym.benchmarks.cli.steps import is_model, numbers, show


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("default", True),
        ("smollm2", True),
        ("there", True),
        ("runs/not-yet", True),
        ("./here", True),
        ("competent", False),
        ("my.shop:Seller", False),
        ("kind:some/name", False),
    ],
)
def test_models_are_told_from_sellers(
    name: str, expected: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("there").mkdir()
    assert is_model(name) is expected


def test_reports_are_shown_for_people_or_programs(capsys: pytest.CaptureFixture[str]) -> None:
    show({"gain": float("inf")}, ["a", "", *numbers({"x": 0.25, "long": 2})], as_json=False)
    assert capsys.readouterr().out == "a\n  x     0.25\n  long  2\n"
    show({"gain": float("inf")}, ["a"], as_json=True)
    assert capsys.readouterr().out == '{\n  "gain": null\n}\n'
