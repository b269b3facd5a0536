"""The study of the gate: steps of a tiny run, and the table of errors on steps made by hand."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from convgym.agents.improvement.token_ppo import TokenPPO
from convgym.agents.off_policy.estimators import GAINS
from convgym.agents.values.q_function import QFunctionConfig
from convgym.benchmarks.studies import gate
from convgym.benchmarks.studies.gate_rounds import passed_by, stored_rounds
from convgym.benchmarks.studies.gate_steps import PIECES, Clone, Improve, Noise, Piece
from convgym.benchmarks.studies.gate_table import Rule, accuracy, errors, truth
from convgym.errors import ConvgymError

RESULTS = Path(__file__).parents[4] / "benchmarks" / "results"
STEP = TokenPPO(fresh_steps=3, fresh_conversations=2, fresh_samples=2)
TINY = Piece(
    "tiny",
    "tuning",
    "start",
    24,
    0,
    (Improve("improve", STEP, (1, 2)), Clone(True, 1), Noise(0.1)),
    QFunctionConfig(epochs=1, first_steps=0, replies=1),
)


@pytest.mark.slow
def test_a_study_goes_on_where_it_was_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(gate, "PIECES", (TINY, replace(TINY, name="other", half="judging")))
    path = tmp_path / "gate.json"
    with pytest.raises(ConvgymError, match="unknown piece"):
        gate.main(path, only="nothing", customers=4)
    with pytest.raises(ConvgymError, match="no folder of stored runs at nowhere"):
        gate.main(path, customers=4, results=Path("nowhere"))
    with pytest.raises(ConvgymError, match="no piece is there yet"):
        gate.main(path, customers=5, results=RESULTS, as_is=True)  # which claims nothing
    gate.main(path, only="tiny", customers=4, results=RESULTS)
    assert not path.exists()
    assert "still to be made: other" in capsys.readouterr().out
    with pytest.raises(ConvgymError, match="other settings: customers 4, not 5"):
        gate.main(path, customers=5, results=RESULTS)
    gate.main(path, customers=4, results=RESULTS, as_is=True)
    assert json.loads(path.read_text(encoding="utf-8"))["left_out"] == ["other"]
    part = tmp_path / "gate.json.parts" / "tiny.json"
    before = part.stat().st_mtime_ns
    gate.main(path, customers=4, results=RESULTS)
    assert part.stat().st_mtime_ns == before
    stored = json.loads(path.read_text(encoding="utf-8"))
    names = [step["step"] for step in stored["steps"] if step["piece"] == "tiny"]
    assert names == [
        "improve, 1 batches",
        "improve, 2 batches",
        "improve, 3 batches",
        "clone sold, 1 epochs",
        "noise 0.1",
    ]
    first, *_ = stored["steps"]
    assert (first["tenth"]["conversations"], first["all"]["conversations"]) == (2, 6)
    assert set(first["all"]["estimates"]) == set(GAINS)
    assert first["kl_nats_per_response"] > 0
    assert len(stored["stored_rounds"]) == 49
    assert stored["left_out"] == []
    with pytest.raises(ConvgymError, match="never overwritten"):
        gate.main(path, customers=4, results=RESULTS)


def step(change: float, value: float, coverage: float = 1.0, **known: Any) -> dict[str, Any]:
    """Return a step whose estimate has a standard error of 0.1."""
    estimate = {"value": value, "low": value - 0.2, "high": value + 0.2, "standard_error": 0.1}
    said = {
        "coverage": coverage,
        "kl": 0.5,
        "conversations": 50,
        "sales": 10,
        "estimates": dict.fromkeys(GAINS, estimate),
        **known,
    }
    row = {"change": change, "change_se": 0.02, "all": said}
    return {**row, "truth": truth(row)}


def test_truth_is_what_the_customers_prove() -> None:
    assert [truth(step(change, 0.0)) for change in (0.05, 0.03, -0.03, -0.05)] == [
        "good",
        "even",
        "even",
        "bad",
    ]


def test_errors_of_a_rule_are_counted() -> None:
    rule = Rule("first order", standard_errors=-1.0, min_coverage=0.5, min_sales=1)
    steps = [
        step(0.2, 0.2),  # good, passed
        step(0.2, 0.05),  # good, not sure enough
        step(0.2, 0.2, sales=0),  # good, cannot be judged
        step(-0.2, -0.2),  # bad, turned down
        step(-0.2, 0.3),  # bad, passed
        step(-0.2, 0.3, coverage=0.1),  # bad, cannot be judged
        step(0.0, 0.3),  # even, passed
    ]
    found = errors(rule, steps, "all")
    told = ("steps", "passed", "cannot_judge")
    counts = {kind: [row[name] for name in told] for kind, row in found.items()}
    assert counts == {"good": [3, 1, 1], "bad": [3, 1, 1], "even": [1, 1, 0]}
    assert found["good"]["low"] < 1 / 3 < found["good"]["high"]


def test_accuracy_is_that_of_the_estimates() -> None:
    found = accuracy([step(0.1, 0.2), step(-0.1, -0.4)], "all")["first order"]
    assert found["rmse"] == pytest.approx(((0.1**2 + 0.3**2) / 2) ** 0.5)
    assert found["bias"] == pytest.approx(-0.1)
    assert found["right_sign"] == 1
    assert found["inside"] == 0.5


def test_pieces_have_names_of_their_own_and_both_halves_have_some() -> None:
    assert len({piece.name for piece in PIECES}) == len(PIECES)
    assert len({piece.seed for piece in PIECES}) == len(PIECES)
    assert {piece.half for piece in PIECES} == {"tuning", "judging"}


def test_stored_rounds_are_those_that_were_deployed() -> None:
    """The last of seed 4 was turned down; what followed a round is the next deployment's."""
    rounds = stored_rounds(RESULTS / "lab/2026-11-25-standard-four-rounds")
    places = [(row["seed"], row["round"]) for row in rounds]
    assert places == [(s, k) for s in range(5) for k in range(1, 5) if (s, k) != (4, 4)]
    first, *_, last = rounds
    assert first["change"] == pytest.approx(0.708984375 - 0.380859375)
    assert first["truth"] == "good"
    assert last["change"] == pytest.approx(0.734375 - 0.76171875)
    assert last["truth"] == "even"
    assert passed_by(rounds, 1.0) == {"good": [11, 11], "even": [8, 8], "bad": [0, 0]}
    assert passed_by(rounds, -1000.0) == {"good": [0, 11], "even": [0, 8], "bad": [0, 0]}
