"""The study of the learned customer's fidelity: pieces that are kept, and what they compare."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from convgym.benchmarks.studies import learned_customer
from convgym.benchmarks.studies.pieces import folder_of
from convgym.conversation import Episode, Response, Turn
from convgym.customers.scripted.customer import ScriptedCustomer
from convgym.errors import ConvgymError
from convgym.sellers import make_seller
from tests.unit.agents.learned import tiny_adapter, tiny_learned_customer


def test_a_study_goes_on_where_it_was_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    two: dict[str, Any] = {"silent": ("silent", {}), "oracle": ("oracle", {})}
    monkeypatch.setattr(learned_customer, "SELLERS", two)
    path, model = tmp_path / "fidelity.json", tiny_learned_customer()
    with pytest.raises(ConvgymError, match="unknown seller of the study 'oracel'"):
        learned_customer.main(path, sellers="oracel", customers=6, model=model)
    learned_customer.main(path, sellers="oracle", customers=6, model=model)
    assert not path.exists()
    assert "still to be made: silent" in capsys.readouterr().out
    (part,) = folder_of(path).iterdir()
    before = part.stat().st_mtime_ns
    learned_customer.main(path, sellers="silent;oracle", customers=6, model=model)
    assert part.stat().st_mtime_ns == before

    stored = json.loads(path.read_text())
    silent, oracle = stored["pieces"]
    assert (silent["seller"], oracle["seller"]) == ("silent", "oracle")
    assert silent["original"]["purchases"] == silent["again"]["purchases"] == 0
    assert silent["agreement"]["buyers"] is None
    assert oracle["original"]["purchases"] > 2
    assert oracle["original"] != oracle["again"]
    assert stored["evaluation"]["customers"] == 6
    assert "held_out_nats_per_decision" in stored["recipe"]
    assert "| oracle | " in capsys.readouterr().out


def test_one_that_imitates_the_shopper_meets_sellers_for_shoppers() -> None:
    piece = learned_customer.make_piece(make_seller("oracle", law="v1"), 5, tiny_adapter())
    assert piece["original"]["purchases"] > 2
    assert piece["imitation"]["cpu_seconds"] > piece["original"]["cpu_seconds"] > 0


def episode(*, sold: bool) -> Episode:
    turn = Turn(Response("Shall I?"), "Well.")
    return Episode(3, "Hi.", (turn,), "purchase" if sold else "walk_away", "customer", "seller")


def test_agreement_is_told_apart_for_buyers_and_others() -> None:
    original = [episode(sold=sold) for sold in (True, True, True, False)]
    other = [episode(sold=sold) for sold in (True, False, True, True)]
    told = learned_customer._agreement(original, other)
    assert told["all"] == 0.5
    assert told["buyers"][0] == pytest.approx(2 / 3)
    assert told["others"][0] == 0.0
    value, low, high = learned_customer._difference(other, original)
    assert low < value == 0.0 < high


def test_the_table_is_in_percent() -> None:
    summary = {"conversion": 0.5, "interval": [0.4, 0.6], "turns": 5.51}
    piece = {
        "seller": "oracle",
        "original": summary,
        "imitation": {**summary, "conversion": 0.45, "turns": 5.0},
        "difference": [-0.05, -0.1, 0.0],
        "agreement": {"buyers": [0.9, 0.8, 1.0], "others": None},
        "agreement_again": {"buyers": [0.95, 0.9, 1.0], "others": None},
    }
    assert list(learned_customer.table([piece]))[2] == (
        "| oracle | 50.0 [40.0, 60.0] | 45.0 [40.0, 60.0] | -5.0 [-10.0, +0.0] | 5.5, 5.0"
        " | 90.0 (95.0) |  |"
    )


def test_once_more_is_the_same_customer_with_other_chance() -> None:
    original, again = ScriptedCustomer(), learned_customer.OnceMore("scripted")
    heard = []
    for seed in range(20):
        original.reset(seed)
        again.reset(seed)
        assert again.latent == original.latent
        said = [customer.respond("What is your budget?").text for customer in (original, again)]
        heard.append(said[0] == said[1])
    assert not all(heard)
