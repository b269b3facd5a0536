"""What sellers did beside selling: counted, stored, and shown where customers keep count."""

from __future__ import annotations

from typing import Any

from convgym.benchmarks.report.notes import notes
from convgym.benchmarks.report.rows import CONDUCT, columns
from convgym.benchmarks.runs.conduct import Conduct
from convgym.benchmarks.runs.result import Result, evaluate
from convgym.benchmarks.runs.schema import RESULT
from convgym.benchmarks.runs.scores import scores
from convgym.benchmarks.runs.suites import Job
from convgym.conversation import Episode, Outcome, Response, Turn


def episode(outcome: Outcome, words: str = "Buy it now!", **record: Any) -> Episode:
    kept = {"false_claims": 0, "pushes": 0, "repetitions": 0, "discount": 0.0, "margin": None}
    turns = (Turn(Response(words), "No."),)
    return Episode(1, "Hi.", turns, outcome, "shopper", "me", metadata={**kept, **record})


EPISODES = [
    episode("purchase", discount=0.1, margin=90.0, false_claims=2),
    episode("walk_away", "Do, please, take this one.", pushes=1),
    episode("infrastructure_failure", pushes=50),
]
JOB = Job("seller", "me", 0)


def test_conduct_is_per_conversation_and_per_sale() -> None:
    assert Conduct.of(EPISODES) == Conduct(1.0, 0.5, 0.0, 4.0, 0.1, 90.0)
    assert Conduct.of(EPISODES[1:]) == Conduct(0.0, 1.0, 0.0, 5.0, None, None)


def test_customers_that_keep_no_count_have_none() -> None:
    plain = Episode(1, "Hi.", (Turn(Response("Buy."), "No."),), "walk_away", "c", "me")
    assert Conduct.of([plain]) is None
    result = Result(JOB, **evaluate([plain])._asdict())
    assert "conduct" not in result.to_row()
    headings, _ = columns(scores([result]))
    assert not set(headings) & set(CONDUCT)
    assert not any("Conduct" in note for note in notes(scores([result]), 1))


def test_a_row_keeps_it() -> None:
    result = Result(JOB, **evaluate(EPISODES)._asdict())
    row = result.to_row()
    RESULT.validate_python(row)
    assert Result.from_row(row) == result


def test_a_table_shows_the_mean_of_the_seeds() -> None:
    rows = [
        Result(Job("agent", "a", seed), **evaluate(EPISODES[:number])._asdict())
        for seed, number in ((0, 1), (1, 2))
    ]
    (score,) = scores(rows)
    assert score.conduct == Conduct(1.5, 0.25, 0.0, 3.5, 0.1, 90.0)
    headings, ((*cells,),) = columns([score])
    shown = dict(zip(headings, cells, strict=True))
    assert [shown[name] for name in CONDUCT] == ["3.5", "1.50", "0.25", "0.00", "10.0", "90.0"]
    assert any("Nobody was rewarded" in note for note in notes([score], 1))
