"""The identity of a run: what files hold, not where they lie."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

import convgym
from convgym.benchmarks.runs.folder import read_manifest
from convgym.benchmarks.runs.identity import content, first_difference
from convgym.benchmarks.runs.manifest import make_manifest
from convgym.benchmarks.runs.runner import run_suite
from convgym.benchmarks.runs.suites import Suite, select
from convgym.errors import ConvgymError
from convgym.shop import catalog
from tests.unit.benchmarks.conftest import World

SHIPPED = Path(convgym.__file__).parent / "data"


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Path]:
    for folder, name in (("catalogs", "mobile"), ("personas", "difficult")):
        shutil.copy(SHIPPED / folder / f"{name}.json", tmp_path / f"{folder}.json")
    return {"catalog": tmp_path / "catalogs.json", "personas": tmp_path / "personas.json"}


def forget() -> None:
    """As a new process would."""
    from convgym.customers import personas

    for module in (catalog, personas):
        for value in vars(module).values():
            if hasattr(value, "cache_clear"):
                value.cache_clear()


def edit(path: Path) -> None:
    data = json.loads(path.read_text())
    if "products" in data:
        data["products"][0]["price"] += 1
    else:
        data["name"] += "-other"
    path.write_text(json.dumps(data))
    forget()


class Interrupted(BaseException):
    pass


def interrupt(name: str) -> None:
    if name == "bc":
        raise Interrupted


@pytest.mark.parametrize("what", ["catalog", "personas"])
@pytest.mark.parametrize("place", ["environment", "evaluation", "customer_options"])
def test_a_file_edited_between_interruption_and_resume_is_refused(
    tmp_path: Path, suite: Suite, files: dict[str, Path], what: str, place: str
) -> None:
    options = {what: str(files[what])}
    chosen = (
        select(suite, environment={"customer_options": options})
        if place == "customer_options"
        else select(suite, **{place: options})  # type: ignore[arg-type]
    )
    with pytest.raises(Interrupted):
        run_suite(chosen, tmp_path / "out", parts=World(before_rollout=interrupt))
    before = files[what].read_bytes()
    edit(files[what])
    with pytest.raises(ConvgymError, match=r"unfinished run, with content\."):
        run_suite(chosen, tmp_path / "out", parts=World())
    files[what].write_bytes(before)
    forget()
    run_suite(chosen, tmp_path / "out", parts=World())
    edit(files[what])
    with pytest.raises(ConvgymError, match="finished"):
        run_suite(chosen, tmp_path / "out", parts=World())
    forget()


def test_a_file_may_lie_elsewhere(tmp_path: Path, suite: Suite, files: dict[str, Path]) -> None:
    chosen = select(suite, environment={"catalog": str(files["catalog"])})
    with pytest.raises(Interrupted):
        run_suite(chosen, tmp_path / "out", parts=World(before_rollout=interrupt))
    moved = files["catalog"].rename(tmp_path / "moved.json")
    chosen = select(suite, environment={"catalog": str(moved)})
    assert len(run_suite(chosen, tmp_path / "out", parts=World())) == 7


def test_other_code_of_the_same_commit_is_another_run(
    suite: Suite, monkeypatch: pytest.MonkeyPatch
) -> None:
    earlier = make_manifest(suite, 0, {}, content(suite, {}))["run"]
    assert first_difference(earlier, earlier) is None
    monkeypatch.setattr("convgym.benchmarks.runs.identity.code_digest", lambda: "other")
    later = make_manifest(suite, 0, {}, content(suite, {}))["run"]
    change = first_difference(earlier, later)
    assert change is not None and change.startswith("content.code = ")
    assert first_difference(earlier, later, settings_only=True) is None


def test_runs_from_before_variants_are_the_runs_of_today(suite: Suite) -> None:
    today = make_manifest(suite, 0, {})["run"]
    earlier = json.loads(json.dumps(today))
    for name in ("seeds", "keep"):
        del earlier["suite"][name]
    assert first_difference(earlier, today) is None
    other = make_manifest(replace(suite, seeds={"bc": 3}), 0, {})["run"]
    assert first_difference(earlier, other) == "suite.seeds = nothing, not {'bc': 3}"


def test_the_model_that_agents_start_from_is_compared_by_its_weights(
    tmp_path: Path, suite: Suite
) -> None:
    digests = []
    for name, weights in (("a", "1"), ("b", "1"), ("b", "2")):
        (tmp_path / name).mkdir(exist_ok=True)
        (tmp_path / name / "weights").write_text(weights)
        config = {"policy": {"model": str(tmp_path / name)}}
        digests.append(content(suite, {"bc": config})["models"]["bc"])
    assert digests[0] == digests[1] != digests[2]


@pytest.mark.parametrize("junk", [None, "x", [], 3, {"models": {"bc": 1}}])
@pytest.mark.parametrize("place", ["content", "agents.bc", "suite.overrides", "suite.environment"])
def test_a_damaged_entry_is_a_difference(suite: Suite, place: str, junk: object) -> None:
    models = {"models": {"bc": "0"}}
    run = make_manifest(suite, 0, {"bc": {"model": "m"}}, models)["run"]
    damaged = json.loads(json.dumps(run))
    *outer, last = place.split(".")
    within = damaged
    for part in outer:
        within = within[part]
    within[last] = junk
    change = first_difference(damaged, run)
    assert change is not None and " = " in change


def test_the_manifest_keeps_what_a_run_read(tmp_path: Path, suite: Suite) -> None:
    run_suite(suite, tmp_path, parts=World())
    kept = read_manifest(tmp_path)["run"]["content"]
    assert kept["training"] == kept["evaluation"]
    assert kept["training"]["customer"].startswith("scripted-v")
    assert len(kept["code"]) == 16 and kept["models"] == {}
