"""How much is worded, with the measure and without: counts that add up, and pairs that tell why."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest

from convgym.benchmarks.studies import wordings
from convgym.llm.base import Continuation
from tests.unit.customers.chat_models import FakeModel, paraphrase


class Judging(FakeModel):
    """Words lines, and finds long ones less fluent."""

    def log_probabilities(self, texts: Sequence[Continuation]) -> list[float]:
        return [-len(text.text) / 10 for text in texts]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    path = tmp_path_factory.mktemp("study") / "wordings.json"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(wordings, "make_backend", lambda *name, **options: Judging(paraphrase))
        patch.setattr(wordings, "TOGETHER", 8)
        wordings.main(path, customers=12, seed=3)
    stored: dict[str, Any] = json.loads(path.read_text())
    return stored


def test_all_lines_of_the_same_customers_are_counted_twice(found: dict[str, Any]) -> None:
    without, with_measure = found["rows"]
    assert (found["customers"], found["evaluation_seed"]) == (12, 3)
    assert without["lines"] == with_measure["lines"] > 40
    for row in (without, with_measure):
        assert row["worded"] + sum(row["reasons"].values()) == row["lines"]
    assert "fluency" not in without["reasons"]
    refused = with_measure["reasons"]["fluency"]
    assert 0 < with_measure["worded"] == without["worded"] - refused


def test_the_pairs_tell_what_was_refused(found: dict[str, Any]) -> None:
    pairs = found["pairs"]
    spoken = [pair for pair in pairs if pair["spoken"]]
    assert len(spoken) == found["rows"][1]["worded"] < len(pairs)
    for pair in pairs:
        assert pair["spoken"] == (len(pair["wording"]) <= len(pair["template"]))
        assert pair["template"] != pair["wording"]
    assert any(pair["after"].startswith("Seller: ") for pair in pairs)
