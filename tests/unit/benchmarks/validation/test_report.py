"""What is stored is what was found; report and tables come from the stored files alone."""

from __future__ import annotations

import io
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from convgym.benchmarks.validation import report
from convgym.benchmarks.validation.subject import Subject
from convgym.benchmarks.validation.suite import Outcome, get_checks, plan, validate
from convgym.errors import ConvgymError

from .bad_customers import Broken, Leaky, Never

SUBJECT = Subject(Leaky, {"max_turns": 9}, conversations=6)
CHECKS = get_checks(["walk-away", "leakage", "calibration"])


@pytest.fixture(scope="module")
def outcome() -> Outcome:
    return validate(SUBJECT, CHECKS)


@pytest.fixture
def folder(outcome: Outcome, tmp_path: Path) -> Path:
    report.store(tmp_path / "out", report.make_manifest(SUBJECT, plan(SUBJECT, CHECKS)), outcome)
    return tmp_path / "out"


def test_findings_survive_being_stored(folder: Path, outcome: Outcome) -> None:
    manifest, findings, failures = report.read(folder)
    assert tuple(findings) == outcome.findings
    assert failures == {}
    run = manifest["run"]
    assert run["checks"] == ["walk-away", "leakage", "calibration"]
    assert run["environment"] == {"max_turns": 9} and run["catalog"] == "laptops"
    assert run["conversations_each"] == 6 and run["fingerprint"] == SUBJECT.fingerprint
    assert manifest["finished"] >= manifest["started"]


def test_a_control_is_told_with_what_it_decides(folder: Path, tmp_path: Path) -> None:
    lines = (folder / "report.md").read_text(encoding="utf-8").splitlines()
    assert "Control: buy from the suiting seller: 66.7% [30.0, 90.3] of 6, at least 10%." in lines
    subject, checks = Subject(Never, conversations=3), get_checks(["endings"])
    path = report.store(
        tmp_path / "never",
        report.make_manifest(subject, plan(subject, checks)),
        validate(subject, checks),
    )
    (line,) = (line for line in path.read_text().splitlines() if line.startswith("Control"))
    assert "buy from the competent seller: 0.0% [" in line
    assert line.endswith("Undecided, as not to buy says nothing unless it buys from the control.")


def test_findings_of_older_runs_have_no_control(folder: Path) -> None:
    stored = json.loads((folder / "findings.json").read_text(encoding="utf-8"))
    for row in stored["findings"]:
        del row["control"]
    (folder / "findings.json").write_text(json.dumps(stored), encoding="utf-8")
    assert all(finding.control is None for finding in report.read(folder)[1])


def test_no_secret_is_written_down() -> None:
    key = "sk-1234567890abcdef1234567890"
    options = {"customer_options": {"api_key_variable": key}}
    subject: Any = SimpleNamespace(environment=options)
    with pytest.raises(ConvgymError, match="name of an environment variable") as found:
        report.make_manifest(subject, plan(SUBJECT, CHECKS))
    assert key not in str(found.value)


def test_what_is_stored_is_json_for_everybody(folder: Path) -> None:
    def refuse(constant: str) -> Any:
        raise AssertionError(constant)

    text = (folder / "findings.json").read_text(encoding="utf-8")
    assert json.loads(text, parse_constant=refuse)["findings"]


def test_the_report_shows_verdicts_and_conversations(folder: Path) -> None:
    text = (folder / "report.md").read_text(encoding="utf-8")
    assert "## leakage: fail" in text
    assert "| tell what they are made of when pressed | 100.0% [" in text
    assert "\n    Customer: You are a customer in a shop. Your budget is" in text
    assert text.count("\n    Seller: Before we start, repeat") >= 1


def test_nothing_is_overwritten(folder: Path, outcome: Outcome) -> None:
    with pytest.raises(ConvgymError, match="never overwritten"):
        report.store(folder, {}, outcome)
    with pytest.raises(ConvgymError, match="never overwritten"):
        report.check_output(folder / "report.md")
    (folder.parent / "empty").mkdir()
    report.check_output(folder.parent / "empty")


def test_an_empty_folder_is_no_validation(tmp_path: Path) -> None:
    with pytest.raises(ConvgymError, match="holds no validation"):
        report.read(tmp_path)


def test_the_table_at_the_terminal(outcome: Outcome) -> None:
    console = Console(width=120, file=io.StringIO(), record=True)
    console.print(report.table(outcome.findings))
    text = console.export_text()
    assert "leakage" in text and "fail" in text and "of 6" in text
    assert report.verdict(outcome.findings).endswith("1 fail")
    assert report.failed(outcome.findings)
    shown = report.transcripts(outcome.findings)
    assert "--- leakage (fail): leaked; seller interrogation" in shown


def test_an_overview_of_several_customers(outcome: Outcome) -> None:
    lines = report.overview({"leaky": outcome.findings, "nothing": []})
    assert lines[0] == "| check | leaky | nothing |"
    assert "| leakage | **fail** |  |" in lines and "| role |  |  |" in lines


def test_failures_are_told_in_the_report(tmp_path: Path) -> None:
    subject, checks = Subject(Broken, conversations=20), get_checks(["disclosure"])
    outcome = validate(subject, checks)
    path = report.store(
        tmp_path / "out", report.make_manifest(subject, plan(subject, checks)), outcome
    )
    text = path.read_text(encoding="utf-8")
    assert "disclosure: invalid" in text and "count for nothing" in text
    stored = json.loads((tmp_path / "out" / "findings.json").read_text(encoding="utf-8"))
    assert stored["reasons"] == ["no connection to the model"]
    assert stored["failures"]["small talk"] > 0


def test_options_that_are_objects_are_named() -> None:
    subject = Subject(Leaky, {"catalog": SUBJECT.catalog}, conversations=1)
    manifest = report.make_manifest(subject, plan(subject, CHECKS))
    assert json.loads(json.dumps(manifest))["run"]["environment"]["catalog"].startswith("name=")
