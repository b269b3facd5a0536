"""The register of customers that stored runs looked at: whole, true, and none used up twice."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from convgym.seeds import evaluation_seeds

RESULTS = Path(__file__).parents[2] / "benchmarks" / "results"
FIELDS = ("run", "stored", "customers", "seed", "number", "looked_at", "purpose", "claim", "why")
SINCE = "2026-11-26"
"""Lines from this day on keep to the rule; what was looked at before is told as it was."""

Line = Mapping[str, Any]
LINES: list[Line] = [
    json.loads(line) for line in (RESULTS / "register.jsonl").read_text("utf-8").splitlines()
]


def stored() -> set[str]:
    """Return every stored run: folders with a manifest, and files of studies."""
    folders = {path.parent for path in RESULTS.rglob("manifest.json")}
    files = {path for path in RESULTS.rglob("*.json") if not folders & set(path.parents)}
    return {path.relative_to(RESULTS).as_posix() for path in folders | files}


def told_by(run: str) -> tuple[str, int, int] | None:
    """Return stream, seed and number of customers as a run's own files tell them, if they do."""
    path = RESULTS / run
    facts = json.loads((path if path.is_file() else path / "manifest.json").read_text("utf-8"))
    match facts:
        case {"run": {"suite": {"evaluation_episodes": number}, "seed": seed}}:
            return "evaluation", seed, number
        case {"run": {"range": "training", "customers": number, "seed": seed}}:
            return "training", seed, number
        case {"run": {"conversations_each": number, "seed": seed}}:
            return "evaluation", seed, number
        case {"evaluation": {"customers": number, "train_seeds_stream": seed}}:
            return "training", seed, number
        case {"seeds": {"evaluation_stream": seed}, "rows": [{"customers": number}, *_]}:
            return "training", seed, number
        case {"rounds": _, "final": {"customers": number}, "seed": seed}:
            return "training", 1_000_000 + seed, number
        case {"variants": [{"one_round": {"as fitted": {"customers": number}}}, *_], "seed": seed}:
            return "training", seed + 2, number
        case {"family": _, "customer_stream": seed, "customers": number}:
            return "training", seed, number
        case {"places": _, "customers": number, "seed": seed}:
            return "evaluation", seed, number
        case {"evaluation_seed": seed, "customers": number}:
            return "evaluation", seed, number
        case {"sizes": {"evaluation_seed": seed, "customers": number}}:
            return "evaluation", seed, number
        case {"shops": _, "customers": number, "seed": seed}:
            return "training", seed, number
        case {"settings": {"customers": number, "seeds": {"evaluation_stream": seed}}}:
            return "training", seed, number
    return None


def broken(lines: Iterable[Line]) -> list[str]:
    """Return a line for each use of customers that were used up: a claim needs its own.

    Customers are those of a stream and a seed, however many: the first of a longer range are those
    of a shorter one. Reference runs, which judge nobody who learned, use nothing up.
    """
    used = [line for line in lines if line["purpose"] != "reference" and line["seed"] is not None]
    return [
        f"{a['run']} ({a['purpose']}) and {b['run']} ({b['purpose']}): {b['customers']} {b['seed']}"
        for number, b in enumerate(used)
        for a in used[:number]
        if (a["customers"], a["seed"]) == (b["customers"], b["seed"])
        and max(a["looked_at"], b["looked_at"]) >= SINCE
        and "claim" in (a["purpose"], b["purpose"])
        and a.get("claim") != b.get("claim")
    ]


def test_every_stored_run_is_in_the_register_and_no_other() -> None:
    registered = {line["run"] for line in LINES if "stored" not in line}
    assert sorted(stored() - registered) == [], "add a line to benchmarks/results/register.jsonl"
    assert sorted(registered - stored()) == [], "registered, but not stored"


@pytest.mark.parametrize("line", LINES, ids=lambda line: str(line["run"]))
def test_a_line_says_what_is_needed(line: Line) -> None:
    assert list(line) == [field for field in FIELDS if field in line]
    assert set(FIELDS) - set(line) <= {"claim", "stored"}
    assert line.get("stored", False) is False
    assert "claim" not in line or "stored" not in line, "what is claimed has to be stored"
    assert line["customers"] in ("evaluation", "training", "other", "none")
    assert line["purpose"] in ("claim", "tuning", "development", "reference")
    assert ("claim" in line) == (line["purpose"] == "claim")
    assert date.fromisoformat(line["looked_at"])
    assert (line["number"] == 0) == (line["customers"] == "none")
    assert line["seed"] is not None or line["customers"] != "evaluation"


@pytest.mark.parametrize("run", sorted(stored()))
def test_the_register_says_what_the_run_says(run: str) -> None:
    told = told_by(run)
    lines = [line for line in LINES if line["run"] == run]
    if told is not None:
        assert told in [(line["customers"], line["seed"], line["number"]) for line in lines]
    if (manifest := RESULTS / run / "manifest.json").exists():
        manifested = json.loads(manifest.read_text("utf-8"))
        looked_at = {line["looked_at"] for line in lines}
        if (finished := manifested["finished"]) is not None:
            assert looked_at == {finished[:10]}
        else:  # under way
            assert min(looked_at) >= manifested["starts"][-1]["time"][:10]


def test_the_ranges_of_most_runs_are_checked() -> None:
    judged = {line["run"] for line in LINES if line["customers"] != "none" and "stored" not in line}
    known = [run for run in judged if told_by(run)]
    assert len(known) > 0.8 * len(judged)


def test_no_customers_are_used_up_twice() -> None:
    assert broken(LINES) == []


def line(purpose: str, seed: int, day: str, claim: str | None = None) -> Line:
    row = {"run": f"{purpose}-{day}", "customers": "evaluation", "seed": seed}
    return {**row, "looked_at": day, "purpose": purpose, **({"claim": claim} if claim else {})}


@pytest.mark.parametrize(
    ("first", "second", "allowed"),
    [
        (line("claim", 7, "2027-01-01", "a"), line("tuning", 7, "2027-01-02"), False),
        (line("tuning", 7, "2027-01-01"), line("claim", 7, "2027-01-02", "a"), False),
        (line("claim", 7, "2027-01-01", "a"), line("claim", 7, "2027-01-02", "b"), False),
        (line("claim", 7, "2026-11-25", "a"), line("claim", 7, "2027-01-02", "b"), False),
        (line("claim", 7, "2027-01-01", "a"), line("claim", 7, "2027-01-02", "a"), True),
        (line("claim", 7, "2027-01-01", "a"), line("claim", 8, "2027-01-02", "b"), True),
        (line("claim", 7, "2027-01-01", "a"), line("reference", 7, "2027-01-02"), True),
        (line("tuning", 7, "2027-01-01"), line("development", 7, "2027-01-02"), True),
        (line("tuning", 7, "2026-11-24"), line("claim", 7, "2026-11-25", "a"), True),
    ],
)
def test_a_claim_uses_its_customers_up(first: Line, second: Line, allowed: bool) -> None:
    assert (not broken([first, second])) is allowed
    assert (not broken([second, first])) is allowed


def test_a_shorter_range_is_the_beginning_of_a_longer_one() -> None:
    assert evaluation_seeds(3, 1000) == evaluation_seeds(3, 2000)[:1000]
