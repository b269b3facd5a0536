"""A whole run with stand-ins: equal budget, equal customers, interruption at every point."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from convgym.agents.protocol import CurvePoint, TrainingReport, Usage
from convgym.benchmarks.report.write import write_report
from convgym.benchmarks.runs.folder import read_manifest, read_results, read_rows
from convgym.benchmarks.runs.reports import checked
from convgym.benchmarks.runs.result import Result
from convgym.benchmarks.runs.runner import Update, run_suite
from convgym.benchmarks.runs.suites import START, Suite, jobs, select
from convgym.errors import ConvgymError, OwnError
from convgym.logs import read_log, write_log
from convgym.rollout import rollout
from convgym.seeds import EVALUATION_BASE, evaluation_seeds
from convgym.sellers import make_seller
from tests.unit.benchmarks.conftest import World


def timeless(results: list[Result]) -> list[Result]:
    return [replace(result, evaluation_seconds=0.0, cpu_seconds=None) for result in results]


def stored(folder: Path) -> dict[str, Any]:
    """Everything that a run leaves behind and that does not depend on the clock."""
    return {
        "results": timeless(read_results(folder)),
        "curves": read_rows(folder / "curves.jsonl"),
        "training": read_rows(folder / "training.jsonl"),
        "conversations": {
            path.name: path.read_bytes() for path in (folder / "conversations").iterdir()
        },
    }


def test_a_run_has_a_row_for_everybody(tmp_path: Path, suite: Suite, world: World) -> None:
    results = run_suite(suite, tmp_path, seed=3, parts=world)
    assert [result.job for result in results] == jobs(suite, 3)
    assert results == read_results(tmp_path)
    silent, competent, _, *agents = results
    assert silent.conversions == 0 and competent.conversions > 35
    assert {(row.conversations, row.deployments, row.train_seconds) for row in agents} == {
        (40, 4, 1.5)
    }
    assert len(read_rows(tmp_path / "curves.jsonl")) == 4 * len(agents)
    assert read_manifest(tmp_path)["finished"]
    assert (tmp_path / "agents" / "bc-seed7" / "policy" / "weights").read_text() == "bc"


def test_everybody_meets_the_same_customers_that_training_never_met(
    tmp_path: Path, suite: Suite, world: World
) -> None:
    run_suite(suite, tmp_path, seed=3, parts=world)
    assert {seeds for _, seeds, _ in world.held} == {tuple(evaluation_seeds(3, 50))}
    assert min(evaluation_seeds(3, 50)) >= EVALUATION_BASE


def test_variants_of_an_agent_have_rows_settings_and_files_of_their_own(
    tmp_path: Path, suite: Suite, world: World
) -> None:
    chosen = select(
        replace(suite, seeds={"bc@2": 1}),
        sellers=[],
        agents=["bc", "bc@2"],
        settings=[("bc@2.rate", 0.5), ("bc@2.policy.temperature", 2.0)],
    )
    results = run_suite(chosen, tmp_path, parts=world)
    assert [result.job.label for result in results] == [
        "small-seller",
        "small-seller-temperature=2.0",
        "bc-seed0",
        "bc-seed1",
        "bc@2-seed0",
    ]
    assert [result.start for result in results[2:]] == [START, START, f"{START} temperature=2.0"]
    agents = read_manifest(tmp_path)["run"]["agents"]
    assert (agents["bc"]["rate"], agents["bc@2"]["rate"]) == (0.1, 0.5)
    for folder in ("agents/bc@2-seed0/policy", "agents/bc-seed1/policy"):
        assert (tmp_path / folder / "weights").exists()
    log = read_log(tmp_path / "conversations" / "bc@2-seed0.jsonl")
    assert {episode.policy for episode in log.episodes} == {"bc@2"}
    held = len(world.held)
    assert run_suite(chosen, tmp_path, parts=world) == results and len(world.held) == held
    assert [score.name for score in write_report(tmp_path).scores][2:] == ["bc", "bc@2"]


def test_processor_seconds_of_training_are_stored(
    tmp_path: Path, suite: Suite, world: World
) -> None:
    results = run_suite(suite, tmp_path, parts=world)
    known = {result.job.kind: result.cpu_seconds is not None for result in results}
    assert known == {"seller": False, "start": False, "agent": True}
    assert read_results(tmp_path) == results


def test_only_the_oracle_is_told_the_hidden_state(
    tmp_path: Path, suite: Suite, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(World.rollout.__globals__["SKILL"], "oracle", 1.0)
    chosen = select(suite, sellers=["competent", "oracle"], environment={"max_turns": 7})
    run_suite(chosen, tmp_path, parts=world)
    told = {name: environment for name, _, environment in world.held}
    assert told.pop("oracle") == {"max_turns": 7, "reveal_latent": True}
    assert all(environment == {"max_turns": 7} for environment in told.values())


def test_failures_of_the_backend_are_excluded_and_counted(
    tmp_path: Path, suite: Suite, world: World
) -> None:
    world.failures = {"competent": 2, "bc": 10}
    run_suite(suite, tmp_path, parts=world)
    rows = {result.job.label: result for result in read_results(tmp_path)}
    assert (rows["competent"].excluded, rows["competent"].episodes) == (2, 48)
    assert rows["competent"].valid and not rows["bc-seed0"].valid


def test_an_agent_above_its_budget_stops_the_run(
    tmp_path: Path, suite: Suite, world: World
) -> None:
    world.overspend = 1
    with pytest.raises(ConvgymError, match="'bc' held 41 conversations, its budget is 40"):
        run_suite(suite, tmp_path, parts=world)


@pytest.mark.parametrize("kind", ["sellers", "agents"])
def test_unknown_names_fail_before_anything_is_written(
    tmp_path: Path, suite: Suite, world: World, kind: str
) -> None:
    chosen = select(suite, **{kind: ["competent", "nobody"]})  # type: ignore[arg-type]
    with pytest.raises(ConvgymError, match=f"unknown {kind[:-1]} 'nobody'"):
        run_suite(chosen, tmp_path / "out", parts=world)
    assert not (tmp_path / "out").exists() and not world.held


def test_a_finished_run_is_not_run_again(tmp_path: Path, suite: Suite, world: World) -> None:
    results = run_suite(suite, tmp_path, parts=world)
    held = len(world.held)
    assert run_suite(suite, tmp_path, parts=world) == results
    assert len(world.held) == held
    with pytest.raises(ConvgymError, match="never overwritten"):
        run_suite(suite, tmp_path, seed=1, parts=world)


def test_a_finished_run_that_lost_a_row_is_made_whole(
    tmp_path: Path, suite: Suite, world: World
) -> None:
    results = run_suite(suite, tmp_path, parts=world)
    rows = (tmp_path / "results.jsonl").read_bytes()
    (tmp_path / "results.jsonl").write_bytes(rows[:-20])
    assert any("online-ppo (seed 1) missing" in note for note in write_report(tmp_path).notes)
    assert timeless(run_suite(suite, tmp_path, parts=world)) == timeless(results)
    assert len(world.held) == 8 and read_manifest(tmp_path)["finished"]
    assert not any("missing" in note for note in write_report(tmp_path).notes)


def test_two_who_would_be_kept_in_one_file_are_refused(
    tmp_path: Path, suite: Suite, world: World
) -> None:
    chosen = select(suite, sellers=["silent", START])
    with pytest.raises(ConvgymError, match="'small-seller' would both be kept as 'small-seller'"):
        run_suite(chosen, tmp_path / "out", parts=world)
    assert not (tmp_path / "out").exists()


def test_nobody_to_compare_is_one_error(tmp_path: Path, suite: Suite, world: World) -> None:
    with pytest.raises(ConvgymError, match="nobody to compare"):
        run_suite(select(suite, agents=[], sellers=[]), tmp_path / "out", parts=world)
    assert not (tmp_path / "out").exists()


def test_a_shop_that_is_held_out_is_refused_before_anybody_is_judged(
    tmp_path: Path, suite: Suite, world: World
) -> None:
    chosen = select(suite, environment={"catalog": "bicycles"})
    with pytest.raises(ConvgymError, match="reserved for evaluation"):
        run_suite(chosen, tmp_path / "out", parts=world)
    assert not world.held and not (tmp_path / "out").exists()
    run_suite(select(chosen, agents=[]), tmp_path / "out", parts=world)  # sellers learn nothing


@pytest.mark.parametrize(
    "error", [KeyError("mine"), EOFError("mine"), SystemExit("mine"), BrokenPipeError("mine")]
)
def test_an_error_of_an_agents_own_is_told_as_its_own(
    tmp_path: Path, suite: Suite, error: BaseException
) -> None:
    def breaks(name: str, seed: int, step: int) -> None:
        raise error

    expected = (
        rf"agent 'bc', seed 0, raised {type(error).__name__}: '?mine'? \(test_runner.py, .*in"
    )
    with pytest.raises(OwnError, match=expected) as caught:
        run_suite(suite, tmp_path, parts=World(breaks))
    assert caught.value.__cause__ is error


@pytest.mark.parametrize(
    ("part", "value"),
    [
        ("seconds", "long"),
        ("seconds", float("nan")),
        ("seconds", -1.0),
        ("curve", ({"conversion": 1},)),
        ("curve", 3),
        ("curve", (CurvePoint(-1, 0, 0.5, 1, 0.0),)),
        ("curve", (CurvePoint(1, 0, 7.0, 1, 0.0),)),
        ("rows", (3,)),
        ("rows", None),
        ("notes", "a text alone"),
        ("notes", (3,)),
        ("notes", None),
    ],
)
def test_what_an_agent_reports_is_checked_before_it_is_stored(part: str, value: Any) -> None:
    report = TrainingReport(Usage(), 1.0, (), ())
    assert checked(report, "agent 'x'") == report
    with pytest.raises(ConvgymError, match=rf"{part}.* agent 'x'|agent 'x'.* {part}"):
        checked(replace(report, **{part: value}), "agent 'x'")
    with pytest.raises(ConvgymError, match="must return a TrainingReport"):
        checked(None, "agent 'x'")


def test_what_an_agent_reports_may_come_as_numpy_has_it_and_piecemeal() -> None:
    rows = ({"loss": np.float32(i)} for i in range(2))
    report = TrainingReport(Usage(), np.float32(2.0), [], rows, notes=["n"])  # type: ignore[arg-type]
    assert checked(report, "x") == TrainingReport(
        Usage(), 2.0, (), ({"loss": 0.0}, {"loss": 1.0}), ("n",)
    )


class Killed(BaseException):
    """As harsh as a Ctrl-C."""


# Evaluations 0-6, then steps of training: before every job and in the middle of training.
POINTS = [
    *(("evaluation", number) for number in range(7)),
    *(("step", number) for number in (0, 1, 3, 7, 13, 15)),
]


@pytest.mark.parametrize(("where", "number"), POINTS)
def test_a_killed_run_resumes_to_the_same_rows_without_doubles(
    tmp_path: Path, suite: Suite, where: str, number: int
) -> None:
    whole, parted = tmp_path / "whole", tmp_path / "parted"
    run_suite(suite, whole, parts=World())

    counts = {"evaluation": 0, "step": 0}

    def count(what: str) -> None:
        if where == what and counts[what] == number:
            raise Killed
        counts[what] += 1

    first = World(lambda name, seed, step: count("step"), lambda name: count("evaluation"))
    with pytest.raises(Killed):
        run_suite(suite, parted, parts=first)
    assert len(read_results(parted)) == len(first.held) < 7
    assert read_manifest(parted)["finished"] is None

    steps: list[tuple[str, int, int]] = []
    second = World(lambda *step: steps.append(step))
    run_suite(suite, parted, parts=second)
    assert stored(parted) == stored(whole)
    # Nothing that was done is done again: neither evaluations nor steps of training.
    assert len(first.held) + len(second.held) == 7
    assert counts["step"] + len(steps) == 16


def test_a_row_cut_off_by_a_power_cut_is_made_anew(
    tmp_path: Path, suite: Suite, world: World
) -> None:
    run_suite(suite, tmp_path / "whole", parts=world)
    cut = tmp_path / "cut"

    def stop(name: str) -> None:
        if name == "bc":
            raise Killed

    with pytest.raises(Killed):
        run_suite(suite, cut, parts=World(before_rollout=stop))
    rows = (cut / "results.jsonl").read_bytes()
    (cut / "results.jsonl").write_bytes(rows[:-20])
    run_suite(suite, cut, parts=World())
    assert stored(cut)["results"] == stored(tmp_path / "whole")["results"]


def test_another_seed_gives_other_training_and_other_customers(
    tmp_path: Path, suite: Suite, world: World
) -> None:
    one = run_suite(suite, tmp_path / "1", seed=1, parts=world)
    two = run_suite(suite, tmp_path / "2", seed=2, parts=world)
    assert not {result.job for result in one} & {result.job for result in two}
    assert one[1].outcomes != two[1].outcomes


def test_progress_tells_every_stage(tmp_path: Path, suite: Suite, world: World) -> None:
    seen: list[Update] = []
    run_suite(suite, tmp_path, progress=seen.append, parts=world)
    assert [update.job for update in seen if update.result] == jobs(suite, 0)
    agent = [update for update in seen if update.job.label == "bc-seed1"]
    stages = list(dict.fromkeys(update.stage for update in agent))
    assert stages == ["train", "train: collect", "evaluate", "done"]
    assert all(update.remaining[0] == update.job for update in seen)
    assert all(0 <= update.done <= max(update.total, update.done) for update in seen)
    assert agent[3].metrics.keys() == {"conversion"}


def test_the_report_is_made_from_the_stored_files_alone(
    tmp_path: Path, suite: Suite, world: World
) -> None:
    pytest.importorskip("matplotlib")
    run_suite(suite, tmp_path, parts=world)
    first = write_report(tmp_path)
    assert first.picture == tmp_path / "learning_curves.png"
    page, picture = first.page.read_bytes(), first.picture.read_bytes()
    second = write_report(tmp_path)
    assert second.page.read_bytes() == page and second.scores == first.scores
    assert (tmp_path / "learning_curves.png").read_bytes() == picture
    assert json.dumps(read_manifest(tmp_path)["run"]["seed"]) == "0"


@pytest.mark.parametrize("content", [None, "", "{}\n"])
def test_a_log_that_cannot_be_learnt_from_is_told_before_anything_runs(
    tmp_path: Path, suite: Suite, world: World, content: str | None
) -> None:
    log, output = tmp_path / "log.jsonl", tmp_path / "out"
    if content is not None:
        log.write_text(content)
    with pytest.raises(ConvgymError, match=r"log\.jsonl"):
        run_suite(select(suite, log=str(log)), output, parts=world)
    assert not world.held and not output.exists()


def test_another_log_is_another_run_and_the_same_one_elsewhere_is_not(
    tmp_path: Path, suite: Suite, world: World
) -> None:
    episodes = rollout(make_seller("mediocre"), [1, 2])
    log, moved = tmp_path / "log.jsonl", tmp_path / "moved.jsonl"
    write_log(log, episodes)
    results = run_suite(select(suite, log=str(log)), tmp_path / "out", parts=world)
    log.rename(moved)
    assert run_suite(select(suite, log=str(moved)), tmp_path / "out", parts=world) == results
    write_log(moved, episodes[:1], overwrite=True)
    with pytest.raises(ConvgymError, match=r"content\.log"):
        run_suite(select(suite, log=str(moved)), tmp_path / "out", parts=world)
