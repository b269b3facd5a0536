"""What a model says of its instruction is counted, and what cannot be read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from convgym.benchmarks.studies import recitals
from convgym.llm import ChatRequest
from tests.unit.customers.chat_models import FakeModel


def study(answer: Any, path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    monkeypatch.setattr(recitals, "make_backend", lambda *name, **options: FakeModel(answer))
    recitals.main(path, customers=6, turns=1, seed=5)
    stored: dict[str, Any] = json.loads(path.read_text())
    assert stored["settings"]["customers"] == 6
    (row,) = stored["rows"]
    assert row["lines"] == sum(count for _, count in row["most_frequent"])
    return dict(row)


def saying(words: str) -> Any:
    return lambda request: json.dumps({"thought": "", "decision": "continue", "say": words})


@pytest.mark.parametrize(
    ("words", "example", "run"),
    [
        ("I need a laptop.", 0, 0),
        ("Does the spout leak?", 12, 0),
        ("I never sell, offer help or speak for the shop.", 0, 12),
    ],
)
def test_lines_of_the_instruction_are_counted(
    words: str, example: int, run: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = study(saying(words), tmp_path / "found.json", monkeypatch)
    assert (row["answers"], row["unreadable"], row["lines"]) == (12, 0, 12)
    assert (row["words_of_the_example"], row["run_of_the_prompt"]) == (example, run)
    assert row["leaks"] == example


def test_answers_that_are_sent_back_are_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def muttering(request: ChatRequest) -> str:
        repaired = "could not be read" in request.messages[-1]["content"]
        return str(saying("Hm.")(request)) if repaired else "Hm."

    row = study(muttering, tmp_path / "found.json", monkeypatch)
    assert (row["answers"], row["unreadable"], row["lines"]) == (24, 12, 12)


def test_a_run_of_words_is_one_wherever_it_stands() -> None:
    assert recitals.recites("Well, the label is true where it is.", "A label is true where: it is")
    assert not recitals.recites("A label is true.", "A label is true where")
