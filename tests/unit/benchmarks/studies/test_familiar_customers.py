"""Evaluation customers who want what some training customer wanted."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from convgym.benchmarks.studies.familiar_customers import ALIKE, familiar, main, profiles
from convgym.customers.scripted.customer import ScriptedCustomer


def test_shares_are_those_of_a_naive_count() -> None:
    ours, theirs, rich = profiles(ScriptedCustomer(), [1, 2, 3])
    rich = replace(ours, budget=10**6)
    shares = familiar([ours], [ours, replace(ours, persona="nobody"), rich, theirs])
    same_wish = (ours.need, ours.feature) == (theirs.need, theirs.feature)
    assert [share[0] for share in shares.values()] == [(3 + same_wish) / 4, 0.5, 0.25, 0.25]
    assert all(low < share < high for share, low, high in shares.values())


def test_the_same_customers_are_all_familiar() -> None:
    customers = profiles(ScriptedCustomer("mobile", personas="difficult"), range(20))
    assert {share[0] for share in familiar(customers, customers).values()} == {1.0}


def test_every_shop_and_population_has_a_row(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "familiar.json"
    main(path, customers=30, conversations=20)
    rows = json.loads(path.read_text())["rows"]
    assert len(rows) == 8
    for row in rows:
        shares = [share[0] for share in row["shares"].values()]
        assert list(row["shares"]) == list(ALIKE)
        assert shares == sorted(shares, reverse=True)
    assert "laptops, difficult: need and feature" in capsys.readouterr().out
