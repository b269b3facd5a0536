"""The speed comparison times the same conversations on every side."""

from __future__ import annotations

import json
import random
from functools import partial
from pathlib import Path

import pytest

from convgym.benchmarks.studies.speed import (
    Conversations,
    Side,
    customer_turns,
    environment_turns,
    main,
    never_twice,
    record,
    turns_per_second,
)
from convgym.customers.shopper.customer import ShopperCustomer
from convgym.envs.registration import SALES_V1


def test_every_side_holds_the_recorded_turns() -> None:
    recorded = record(20)
    turns = sum(len(utterances) for utterances in recorded.values())
    assert customer_turns(recorded) == environment_turns(recorded) == turns > 20
    # Shuffled case means the same: the environment would refuse a turn after the end.
    assert environment_turns(never_twice(recorded, random.Random(0))) == turns


def test_the_shopper_is_told_what_its_own_sellers_say() -> None:
    recorded = record(10, "shopper")
    turns = sum(len(utterances) for utterances in recorded.values())
    assert customer_turns(recorded, ShopperCustomer) == turns
    assert environment_turns(recorded, SALES_V1) == turns


def test_shuffled_utterances_differ_in_case_alone() -> None:
    recorded = {1: ["What will you use it for?"], 2: ["What will you use it for?"]}
    shuffled = never_twice(recorded, random.Random(0))
    assert shuffled[1] != shuffled[2]
    assert shuffled[1][0].lower() == recorded[1][0].lower()


def test_the_median_round_counts() -> None:
    calls: list[str] = []

    def side(name: str) -> Side:
        def hold(recorded: Conversations) -> int:
            calls.append(name)
            return sum(range(200_000))

        return hold, dict

    speeds = turns_per_second({"a": side("a"), "b": side("b")}, {}, rounds=3)
    assert calls == ["a", "b"] * 3
    assert all(speed > 0 for speed in speeds.values())


def test_main_says_what_was_left_out_and_stores_the_rest(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    few = partial(record, 10)
    monkeypatch.setattr(
        "convgym.benchmarks.studies.speed.record", lambda n, customer="scripted": few(customer)
    )
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    main(tmp_path / "speed.json")
    out = capsys.readouterr().out
    assert "TextArena is not installed" in out and out.count("turns a second") == 7
    facts = json.loads((tmp_path / "speed.json").read_text())
    assert len(facts["turns_per_second"]) == 7
    assert {"commit", "versions", "machine"} <= set(facts)
