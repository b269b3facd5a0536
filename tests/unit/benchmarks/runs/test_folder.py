"""The results folder: what it stores, refuses, resumes and survives."""

from __future__ import annotations

import copy
import json
import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from convgym.benchmarks.provenance import commit, machine, versions
from convgym.benchmarks.runs.folder import ResultsFolder, read_manifest, read_results, read_rows
from convgym.benchmarks.runs.manifest import make_manifest
from convgym.benchmarks.runs.result import Evaluation, Result, evaluate
from convgym.benchmarks.runs.suites import Job, Suite
from convgym.conversation import Episode, Response, Turn
from convgym.datafiles import write_atomically, write_json
from convgym.errors import ConvgymError
from convgym.statistics import ratio_interval

JOB = Job("agent", "bc", 0)
RESULT = Result(JOB, "ppwtx", 2.5, 40, 4, 1.5, 0.5)


@pytest.fixture
def manifest(suite: Suite) -> dict[str, Any]:
    return make_manifest(suite, 0, {"bc": {"rate": 0.1}})


def episode(outcome: Any, turns: int) -> Episode:
    return Episode(1, "hi", (Turn(Response("a"), "b"),) * turns, outcome, "stub", "bc")


def test_a_result_counts_failures_of_the_backend_as_nothing() -> None:
    assert (RESULT.conversions, RESULT.episodes, RESULT.excluded) == (2, 4, 1)
    row = RESULT.to_row()
    assert row["conversion"] == 0.5
    assert row["wilson95"] == pytest.approx([0.1500, 0.8500], abs=1e-4)
    assert Result.from_row(json.loads(json.dumps(row))) == RESULT


@pytest.mark.parametrize(
    ("outcomes", "valid"),
    [("p" * 95 + "x" * 5, True), ("p" * 94 + "x" * 6, False), ("xx", False), ("", False)],
)
def test_a_row_is_invalid_above_five_percent_failures(outcomes: str, valid: bool) -> None:
    assert Result(JOB, outcomes, None).valid is valid


@pytest.mark.parametrize(("lost", "valid"), [(2, True), (3, False)])
def test_a_row_is_invalid_above_five_percent_failures_in_training(lost: int, valid: bool) -> None:
    result = Result(JOB, "pw", 2.0, conversations=40, training_excluded=lost)
    assert result.valid is valid and result.to_row()["training_excluded"] == lost
    assert Result.from_row(json.loads(json.dumps(result.to_row()))) == result


def test_evaluate_leaves_failures_out_of_the_mean_turns() -> None:
    episodes = [
        episode("purchase", 3),
        episode("infrastructure_failure", 9),
        episode("turn_limit", 5),
    ]
    assert evaluate(episodes) == Evaluation("pxt", 4.0, None)
    broken = [episode("infrastructure_failure", 9)]
    assert evaluate(broken) == Evaluation("x", None, None)


def test_acceptance_is_of_the_suggestions_of_valid_episodes() -> None:
    def suggesting(outcome: Any, *kinds: str) -> Episode:
        rows = [{"suggestion": "a", "sent": "b", "kind": kind} for kind in kinds]
        return replace(episode(outcome, len(kinds)), metadata={"suggestions": rows})

    episodes = [
        suggesting("purchase", "verbatim", "edited", "ignored", "abstained"),
        suggesting("walk_away", "influenced"),
        suggesting("infrastructure_failure", "verbatim"),
    ]
    found = evaluate(episodes).acceptance
    assert found == ratio_interval([2, 0], [3, 1]) and found.value == 0.5
    assert evaluate([suggesting("walk_away", "abstained")]).acceptance is None
    result = Result(JOB, **evaluate(episodes)._asdict())
    assert Result.from_row(json.loads(json.dumps(result.to_row()))) == result


def test_rows_of_earlier_versions_are_read() -> None:
    newer = ("acceptance", "acceptance95", "training_excluded")
    row = {key: value for key, value in RESULT.to_row().items() if key not in newer}
    assert Result.from_row(row) == RESULT


def test_rows_come_back_as_they_were_written(tmp_path: Path, manifest: dict[str, Any]) -> None:
    other = Result(Job("seller", "silent", 0), "w", 1.0)
    curve = [{"conversations": np.int64(10), "conversion": np.float32(0.5), "episodes": math.nan}]
    with ResultsFolder(tmp_path / "a" / "b", manifest) as folder:
        folder.add(other)
        folder.add(RESULT, curve=curve, training=[{"loss": 1.0}, {"loss": math.inf}])
    assert read_results(folder.path) == folder.results() == [other, RESULT]
    key = {"kind": "agent", "name": "bc", "seed": 0}
    assert read_rows(folder.path / "curves.jsonl") == [
        {**key, "conversations": 10, "conversion": 0.5, "episodes": None}
    ]
    assert [row["loss"] for row in read_rows(folder.path / "training.jsonl")] == [1.0, None]


def test_adding_a_job_again_replaces_its_rows(tmp_path: Path, manifest: dict[str, Any]) -> None:
    with ResultsFolder(tmp_path, manifest) as folder:
        for loss in (1.0, 2.0):
            folder.add(RESULT, training=[{"loss": loss}])
    assert folder.results() == [RESULT]
    assert [row["loss"] for row in read_rows(tmp_path / "training.jsonl")] == [2.0]


def test_a_finished_run_is_never_overwritten(tmp_path: Path, manifest: dict[str, Any]) -> None:
    with ResultsFolder(tmp_path, manifest) as folder:
        folder.finish()
    before = (tmp_path / "manifest.json").read_bytes()
    with pytest.raises(ConvgymError, match=r"finished run.*another --output"):
        ResultsFolder(tmp_path, manifest)
    assert (tmp_path / "manifest.json").read_bytes() == before


def test_an_unfinished_run_is_resumed_and_says_so(tmp_path: Path, manifest: dict[str, Any]) -> None:
    with ResultsFolder(tmp_path, manifest) as first:
        first.add(RESULT)
    with ResultsFolder(tmp_path, manifest) as second:
        assert second.results() == [RESULT]
        second.finish()
    stored = read_manifest(tmp_path)
    assert len(stored["starts"]) == 2 and stored["finished"]


@pytest.mark.parametrize(
    ("path", "value", "told"),
    [
        (("seed",), 1, "seed = 0, not 1"),
        (("suite", "conversations"), 80, "suite.conversations = 40, not 80"),
        (("agents", "bc", "rate"), 0.2, "agents.bc.rate = 0.1, not 0.2"),
        (("agents", "bc", "new"), 1, "agents.bc.new = nothing, not 1"),
        (("commit", "id"), "abc", "not abc"),
        (("convgym",), "9.9", "not 9.9"),
    ],
)
def test_an_unfinished_run_of_other_settings_is_refused(
    tmp_path: Path, manifest: dict[str, Any], path: tuple[str, ...], value: Any, told: str
) -> None:
    with ResultsFolder(tmp_path, manifest):
        pass
    changed = copy.deepcopy(manifest)
    place = changed["run"]
    for name in path[:-1]:
        place = place[name]
    place[path[-1]] = value
    with pytest.raises(ConvgymError) as refusal:
        ResultsFolder(tmp_path, changed)
    assert told in str(refusal.value) and "--output" in str(refusal.value)
    with ResultsFolder(tmp_path, manifest) as resumed:
        assert resumed.results() == []


def test_a_folder_with_other_files_is_left_alone(tmp_path: Path, manifest: dict[str, Any]) -> None:
    (tmp_path / "thesis.tex").write_text("x")
    with pytest.raises(ConvgymError, match="not empty and holds no results"):
        ResultsFolder(tmp_path, manifest)
    assert [entry.name for entry in tmp_path.iterdir()] == ["thesis.tex"]
    with pytest.raises(ConvgymError, match="cannot write to"):
        ResultsFolder(tmp_path / "thesis.tex", manifest)


@pytest.mark.skipif(sys.platform == "win32", reason="folders are not locked there")
def test_two_runs_cannot_write_to_one_folder(tmp_path: Path, manifest: dict[str, Any]) -> None:
    refused = pytest.raises(ConvgymError, match="another run is writing")
    with ResultsFolder(tmp_path, manifest), refused:
        ResultsFolder(tmp_path, manifest)
    with ResultsFolder(tmp_path, manifest):
        pass


def test_a_cut_off_last_line_is_dropped_and_damage_elsewhere_is_named(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"a": 1}\n{"a": 2}\n{"a":')
    assert read_rows(path) == [{"a": 1}, {"a": 2}]
    path.write_bytes(b'{"a": 1}\n{"a": 2}\n{"a": "\xc3')
    assert read_rows(path) == [{"a": 1}, {"a": 2}]
    path.write_text('{"a": 1}\n{"a":\n{"a": 3}\n')
    with pytest.raises(ConvgymError, match="damaged at line 2"):
        read_rows(path)
    assert read_rows(tmp_path / "nothing.jsonl") == []


def test_every_prefix_of_a_results_file_can_be_read(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    whole = "".join(json.dumps(RESULT.to_row()) + "\n" for _ in range(2)).encode()
    for size in range(0, len(whole), 7):
        path.write_bytes(whole[:size])
        assert read_results(tmp_path) == [RESULT] * (whole[: size + 1].count(b"}"))


@pytest.mark.parametrize("content", ["", "{", "[]", '{"finished": null}'])
def test_damaged_manifests_are_named(tmp_path: Path, content: str) -> None:
    (tmp_path / "manifest.json").write_text(content)
    with pytest.raises(ConvgymError, match=r"manifest\.json is not a manifest"):
        read_manifest(tmp_path)


def test_manifests_of_another_format_are_named(tmp_path: Path) -> None:
    write_json(tmp_path / "manifest.json", {"format": 99})
    with pytest.raises(ConvgymError, match="format 99, this version reads format 1"):
        read_manifest(tmp_path)
    with pytest.raises(ConvgymError, match="holds no results"):
        read_manifest(tmp_path / "nowhere")


def test_rows_without_a_field_are_named(tmp_path: Path) -> None:
    (tmp_path / "results.jsonl").write_text('{"kind": "agent"}\n')
    with pytest.raises(ConvgymError, match="without 'name'"):
        read_results(tmp_path)


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    write_atomically(path, "old")
    with pytest.raises(UnicodeEncodeError):
        write_atomically(path, "new \ud800")
    assert path.read_text() == "old"


def test_the_manifest_tells_code_settings_versions_and_machine(manifest: dict[str, Any]) -> None:
    run = json.loads(json.dumps(manifest))["run"]
    assert run["suite"]["name"] == "tiny" and run["agents"] == {"bc": {"rate": 0.1}}
    assert run["versions"]["numpy"] == np.__version__ == versions()["numpy"]
    start = manifest["starts"][0]
    assert start["time"].endswith("+00:00")
    assert start["machine"]["cores"] >= 1 and start["machine"]["processor"]
    assert machine().keys() == start["machine"].keys()


def test_the_commit_is_that_of_the_repository_or_unknown() -> None:
    root = Path(__file__).parents[3]
    head = subprocess.run(
        ["git", "-C", str(root), "rev-parse", "HEAD"], capture_output=True, text=True
    )
    known = head.stdout.strip() if head.returncode == 0 else "unknown"
    assert commit()["id"] in (known, "unknown")
