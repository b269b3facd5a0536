"""Who speaks: a language model by its folder or name, or a seller."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from convgym.agents.model.policy import DEFAULT_MODEL, SHIPPED
from convgym.benchmarks.cli.steps import is_model, numbers, show, speaker


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        *((name, True) for name in SHIPPED),
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


def test_policies_are_told_apart_by_the_folders_of_their_trainings(tmp_path: Path) -> None:
    for folder in ("first/policy", "second/policy", "own"):
        shutil.copytree(DEFAULT_MODEL, tmp_path / folder)
    names = [speaker(str(tmp_path / f), {}).name for f in ("first/policy", "second/policy", "own")]
    assert names == ["first/policy", "second/policy", "own"]
