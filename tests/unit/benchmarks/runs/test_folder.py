"""The results folder: what it stores, refuses, resumes and survives."""

from __future__ import annotations

import copy
import errno
import json
import math
import os
import subprocess
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from convgym.benchmarks.provenance import commit, machine, versions
from convgym.benchmarks.runs.folder import ResultsFolder
from convgym.benchmarks.runs.manifest import make_manifest
from convgym.benchmarks.runs.reading import missing_rows, read_manifest, read_results, read_rows
from convgym.benchmarks.runs.result import Evaluation, Result, evaluate
from convgym.benchmarks.runs.suites import START, Job, Suite
from convgym.conversation import Episode, Response, Turn
from convgym.datafiles import write_atomically, write_json
from convgym.errors import ConvgymError
from convgym.statistics import ratio_interval

JOB = Job("agent", "bc", 0)
RESULT = Result(JOB, "ppwtx", 2.5, 40, 4, 1.5, 0.5)


@pytest.fixture
def manifest(suite: Suite) -> dict[str, Any]:
    starts = dict.fromkeys(suite.agents, START)
    return make_manifest(suite, 0, {"bc": {"rate": 0.1}}, starts=starts)


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


def whole(manifest: dict[str, Any]) -> list[Result]:
    """Return a row for each job that the manifest promises."""
    suite = manifest["run"]["suite"]
    return [
        *(Result(Job("seller", name, 0), "pw", 2.0) for name in suite["sellers"]),
        Result(Job("start", START, 0), "pw", 2.0),
        *(
            Result(Job("agent", name, seed), "pw", 2.0, start=START)
            for name in suite["agents"]
            for seed in range(suite["training_seeds"])
        ),
    ]


def test_a_finished_run_is_never_overwritten(tmp_path: Path, manifest: dict[str, Any]) -> None:
    with ResultsFolder(tmp_path, manifest) as folder:
        assert not folder.complete
        for result in whole(manifest):
            folder.add(result)
        folder.finish()
    before = (tmp_path / "manifest.json").read_bytes()
    changed = copy.deepcopy(manifest)
    changed["run"]["suite"]["conversations"] = 80
    with pytest.raises(ConvgymError, match=r"was finished at .*another --output"):
        ResultsFolder(tmp_path, changed)
    newer = copy.deepcopy(manifest)  # the code says nothing of what is done
    newer["run"]["commit"]["id"], newer["run"]["content"] = "abc", {"code": "def"}
    for same in (manifest, newer):
        with ResultsFolder(tmp_path, same) as folder:
            assert folder.complete and folder.results() == whole(manifest)
    assert (tmp_path / "manifest.json").read_bytes() == before


@pytest.mark.parametrize("lost", range(7))
def test_a_finished_run_that_lost_a_row_is_unfinished(
    tmp_path: Path, manifest: dict[str, Any], lost: int
) -> None:
    rows = whole(manifest)
    with ResultsFolder(tmp_path, manifest) as folder:
        for result in rows[:lost] + rows[lost + 1 :]:
            folder.add(result)
        folder.finish()
    name = rows[lost].job.name
    told = missing_rows(read_manifest(tmp_path), read_results(tmp_path))
    assert told == [
        f"{name} (seed {rows[lost].job.seed})" if rows[lost].job.kind == "agent" else name
    ]
    with ResultsFolder(tmp_path, manifest) as folder:
        assert not folder.complete and read_manifest(tmp_path)["finished"] is None


def test_what_an_attempt_left_before_its_first_file_is_no_hindrance(
    tmp_path: Path, manifest: dict[str, Any]
) -> None:
    (tmp_path / ".manifest.json.part").write_text('{"for')
    with ResultsFolder(tmp_path, manifest):
        pass
    assert {path.name for path in tmp_path.iterdir()} == {".lock", "manifest.json"}


@pytest.mark.parametrize(
    "name",
    [
        "manifest.json",
        ".manifest.json.part",
        ".lock",
        "results.jsonl",
        "conversations",
        "conversations/bc-seed0.jsonl",
        "agents/bc-seed0",
        "agents/bc-seed0/policy",
    ],
)
def test_links_in_a_folder_are_never_written_through(
    tmp_path: Path, manifest: dict[str, Any], name: str
) -> None:
    with ResultsFolder(tmp_path / "run", manifest):
        pass
    mine = tmp_path / "mine"
    is_folder = name.endswith(("conversations", "seed0", "policy"))
    mine.mkdir() if is_folder else mine.write_text((tmp_path / "run/manifest.json").read_text())
    before = sorted(mine.iterdir()) if is_folder else mine.read_text()
    link = tmp_path / "run" / name
    link.parent.mkdir(parents=True, exist_ok=True)
    link.unlink(missing_ok=True)
    link.symlink_to(mine)
    with pytest.raises(ConvgymError, match=f"{link.name} is a link to"):
        ResultsFolder(tmp_path / "run", manifest)
    assert (sorted(mine.iterdir()) if is_folder else mine.read_text()) == before


def test_a_full_disk_is_one_error_and_leaves_no_part(
    tmp_path: Path, manifest: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(number: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with ResultsFolder(tmp_path, manifest) as folder:
        folder.add(RESULT)
        monkeypatch.setattr(os, "fsync", full)
        for action in (partial(folder.add, RESULT), folder.finish):
            with pytest.raises(ConvgymError, match="No space left on device"):
                action()
    assert read_results(tmp_path) == [RESULT]
    assert not [path for path in tmp_path.rglob("*") if "part" in path.name]


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
    results = [replace(RESULT, job=Job("agent", "bc", seed)) for seed in range(2)]
    text = "".join(json.dumps(result.to_row()) + "\n" for result in results).encode()
    for size in (*range(0, len(text), 7), len(text)):
        path.write_bytes(text[:size])
        assert read_results(tmp_path) == results[: text[:size].count(b"}")]


def test_a_doubled_row_counts_once_and_two_that_differ_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    line = json.dumps(RESULT.to_row()) + "\n"
    path.write_text(line * 2)
    assert read_results(tmp_path) == [RESULT]
    path.write_text(line + json.dumps(replace(RESULT, outcomes="wwwww").to_row()) + "\n")
    with pytest.raises(ConvgymError, match="two rows of bc-seed0 that differ"):
        read_results(tmp_path)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"finished": null}', "[" * 100_000])
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


def test_a_manifest_without_a_part_is_named(tmp_path: Path, manifest: dict[str, Any]) -> None:
    del manifest["run"]["suite"]["evaluation_episodes"]
    write_json(tmp_path / "manifest.json", manifest)
    with pytest.raises(ConvgymError, match=r"damaged: it has no run\.suite\.evaluation_episodes"):
        read_manifest(tmp_path)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("kind", 'seller"><script>'),
        ("kind", None),
        ("name", "\x1b[2J"),
        ("name", "a\u202eb"),
        ("name", ""),
        ("name", 3),
        ("seed", -1),
        ("seed", True),
        ("seed", "0"),
        ("outcomes", "pwz"),
        ("turns", -1),
        ("turns", "4"),
        ("conversations", 1.5),
        ("train_seconds", None),
        ("acceptance", 2),
        ("acceptance95", [0.1]),
    ],
)
def test_rows_with_a_wrong_field_are_named(tmp_path: Path, field: str, value: Any) -> None:
    row = {**RESULT.to_row(), field: value}
    (tmp_path / "results.jsonl").write_text(
        json.dumps(RESULT.to_row()) + "\n" + json.dumps(row) + "\n"
    )
    with pytest.raises(ConvgymError, match=f"damaged at line 2: {field}"):
        read_results(tmp_path)


@pytest.mark.parametrize("name", ["../../up", "/etc/passwd", "..", ".hidden", "a/b", "mine:Agent"])
def test_no_name_leads_out_of_the_folder(tmp_path: Path, name: str) -> None:
    for kind in ("agent", "start"):
        job = Job(kind, name, 0)
        assert "/" not in job.label and not job.label.startswith(".")
        inside = (tmp_path / f"{job.label}.jsonl").resolve()
        assert inside.parent == tmp_path.resolve()


def test_rows_without_a_field_are_named(tmp_path: Path) -> None:
    (tmp_path / "results.jsonl").write_text('{"kind": "agent"}\n')
    with pytest.raises(ConvgymError, match="damaged at line 1: it has no name"):
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
