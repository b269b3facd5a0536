"""Rows in pairs: who is compared with whom, and what becomes of rows that do not count."""

from __future__ import annotations

import json

import numpy as np
import pytest

from convgym.benchmarks.runs.pairs import Family, families, outcome_tables, to_json
from convgym.benchmarks.runs.result import Result
from convgym.benchmarks.runs.suites import Job, Kind
from convgym.comparisons import compare, holm
from convgym.errors import ConvgymError


def row(name: str, seed: int, outcomes: str, deployments: int = 1, kind: Kind = "agent") -> Result:
    return Result(Job(kind, name, seed), outcomes, 3.0, 100, deployments)


ROWS = [
    row("oracle", 0, "p" * 30, kind="seller"),
    row("bad", 0, "pw" * 15),
    row("bad", 1, "wp" * 15),
    row("good", 0, "ppw" * 10),
    row("other", 0, "ppppw" * 6, 4),
    row("broken", 0, "p" * 15 + "x" * 15, 4),
]


def names(family: Family) -> list[tuple[str, str]]:
    return [(pair.a, pair.b) for pair in family.pairs]


def test_all_agents_and_those_of_equal_deployments_are_families() -> None:
    everybody, few = families([*ROWS, row("last", 0, "w" * 30, 4)])[:2]
    assert (everybody.name, len(everybody.pairs)) == ("all agents", 6)
    assert names(everybody)[0] == ("other", "good")  # the best beside the next
    assert (few.name, names(few)) == ("agents of 1 deployment", [("good", "bad")])


def test_a_group_of_everybody_is_no_second_family() -> None:
    assert [family.name for family in families(ROWS[1:4])] == ["all agents"]
    assert families(ROWS[:1]) == families([]) == []


def test_a_pair_is_compared_customer_by_customer_and_corrected_for_its_family() -> None:
    tables = outcome_tables(ROWS)
    family = families(ROWS)[0]
    for pair in family.pairs:
        assert pair.comparison == compare(tables[pair.a], tables[pair.b])
    adjusted = holm([pair.comparison.p_value for pair in family.pairs])
    assert [pair.p_holm for pair in family.pairs] == list(adjusted)
    assert "broken" not in tables and tables["bad"].shape == (2, 30)


def test_failed_conversations_are_known_as_such() -> None:
    (table,) = outcome_tables([row("a", 0, "pwt" * 20 + "xf")]).values()
    np.testing.assert_equal(table[0, :3], [1, 0, 0])
    assert np.isnan(table[0, -2:]).all()


def test_rows_may_be_chosen_of_any_kind() -> None:
    (family,) = families(ROWS, ["orac*", "bad", "good"])
    assert family.name == "the rows asked for"
    assert names(family) == [("oracle", "good"), ("oracle", "bad"), ("good", "bad")]
    with pytest.raises(ConvgymError, match="'x' fits no row; there are oracle, bad, good, other"):
        families(ROWS, ["x"])


def test_a_family_is_plain_data() -> None:
    family = families(ROWS)[0]
    stored = json.loads(json.dumps(to_json(family)))
    assert stored["name"] == "all agents" and len(stored["pairs"]) == 3
    first = stored["pairs"][0]
    assert first["interval95"][0] < first["difference"] < first["interval95"][1]
    assert first["seeds"] == [1, 1] and first["customers"] == 30
