"""Suites as files: every field, and every kind of mistake, all of them at once."""

from __future__ import annotations

import math
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from convgym.benchmarks.runs.suite_file import write_suite
from convgym.benchmarks.runs.suites import SUITES, Suite, get_suite, select
from convgym.errors import ConvgymError

WHOLE = """
name = "mine"
description = "What I want to know."
sellers = ["silent", "mypkg:MySeller", "silent"]
conversations = 256
evaluation_episodes = 100
training_seeds = 2
keep = ["iterative-*"]

[agents.online-ppo]
[agents.iterative-ppo]
rounds = 3
q_function = { epochs = 2 }
[agents."mypkg.mine:MyAgent"]
[agents."iterative-ppo@three-4.0"]
rounds = 4

[seeds]
"iterative-ppo@three-4.0" = 1

[environment]
customer = "scripted"
customer_options = { patience = 5 }

[evaluation]
catalog = "bicycles"
"""


def read(folder: Path, text: str) -> Suite:
    path = folder / "my-suite.toml"
    path.write_text(text, encoding="utf-8")
    return get_suite(str(path))


def test_every_field(tmp_path: Path) -> None:
    assert read(tmp_path, WHOLE) == Suite(
        "mine",
        "What I want to know.",
        sellers=("silent", "mypkg:MySeller"),
        agents=(
            "online-ppo",
            "iterative-ppo",
            "mypkg.mine:MyAgent",
            "iterative-ppo@three-4.0",
        ),
        conversations=256,
        evaluation_episodes=100,
        training_seeds=2,
        environment={"customer": "scripted", "customer_options": {"patience": 5}},
        evaluation={"catalog": "bicycles"},
        overrides={
            "iterative-ppo": {"rounds": 3, "q_function": {"epochs": 2}},
            "iterative-ppo@three-4.0": {"rounds": 4},
        },
        seeds={"iterative-ppo@three-4.0": 1},
        keep=("iterative-*",),
    )


def test_the_least_that_is_needed(tmp_path: Path) -> None:
    suite = read(tmp_path, 'sellers = ["silent"]\nevaluation_episodes = 5\n')
    assert suite == Suite("my-suite", "", ("silent",), (), 0, 5)


def test_sellers_may_have_options(tmp_path: Path) -> None:
    text = (
        'evaluation_episodes = 5\n[sellers."openai:org/m-1.5"]\ntemperature = 0.5\n[sellers.deaf]'
    )
    suite = read(tmp_path, text)
    assert suite.sellers == ("openai:org/m-1.5", "deaf")
    assert suite.overrides == {"openai:org/m-1.5": {"temperature": 0.5}}


def test_agents_without_settings_may_be_a_list(tmp_path: Path) -> None:
    text = 'agents = ["bc", "online-ppo"]\nconversations = 9\nevaluation_episodes = 5\n'
    suite = read(tmp_path, text)
    assert suite.agents == ("bc", "online-ppo") and suite.overrides == {}


BASE = 'sellers = ["silent"]\nevaluation_episodes = 5\n'


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('sellers = ["silent"]', "evaluation_episodes is missing"),
        ("evaluation_episodes = 5", "there is nobody to compare"),
        ("evaluation_episodes = 99999999999", "evaluation_episodes should be less than or equal"),
        (BASE + "training_seeds = 9223372036854775807", "training_seeds should be less than 10000"),
        (BASE + f"name = '{'a' * 300}'", "name String should have at most 100 characters"),
        (BASE + "agnts = 3", r"unknown field 'agnts'; known: .*did you mean 'agents'"),
        (BASE + 'agents = ["bc"]', "conversations: agents need a budget of at least 1"),
        (BASE + "agents = 3", "agents should be a valid dictionary, got 3"),
        (BASE + "agents = [3]", "agents should be a valid dictionary"),
        (BASE + "[agents]\nbc = 3", "agents.bc should be a valid dictionary, got 3"),
        (BASE + 'agents = ["ppo"]', "agents.ppo: unknown agent 'ppo'; known: awr"),
        (BASE + 'agents = ["ppo@2"]', "agents.ppo@2: unknown agent 'ppo'; known: awr"),
        (BASE + 'agents = ["bc@"]', "agents.bc@: expected a variant as NAME@LABEL"),
        (BASE + 'keep = ["*@9"]', r"keep: '\*@9' fits none of the suite's agents, which are none"),
        (BASE + "[seeds]\nbd = 2", "seeds: unknown agent of this suite 'bd'"),
        (BASE + "[agents.bc]\n[seeds]\nbc = 0", "seeds.bc should be greater than or equal to 1"),
        (BASE + 'agents = ["a:b:c"]', "expected an agent as 'package.module:attribute'"),
        (BASE + "[agents.bc]\nx = nan", "agents.bc.x.* should be a finite number, got nan"),
        (BASE + "[agents.bc]\nx = 2020-01-01", "agents.bc.x .*not a valid JSON value"),
        ('sellers = ["silnt"]\nevaluation_episodes = 5', "sellers.silnt: unknown seller 'silnt'"),
        ('sellers = "silent"\nevaluation_episodes = 5', "sellers should be a valid dictionary"),
        ('sellers = ["silent"]\nevaluation_episodes = 0', "greater than or equal to 1, got 0"),
        ('sellers = ["silent"]\nevaluation_episodes = "5"', "should be a valid integer, got '5'"),
        ('sellers = ["silent"]\nevaluation_episodes = true', "a valid integer, got True"),
        (BASE + "conversations = -1", "conversations should be greater than or equal to 0"),
        (BASE + "training_seeds = 1.5", "training_seeds should be a valid integer, got 1.5"),
        (BASE + 'name = "a/b"', "name .*should match pattern"),
        (
            BASE + "[environment]\nmax_turn = 3",
            "environment: unknown environment option 'max_turn'",
        ),
        (BASE + "[environment]\ncustomer = 'scriptd'", "environment: unknown customer 'scriptd'"),
        (BASE + "[environment]\ncustomer = 3", "environment: expected a customer by name, got 3"),
        (BASE + "x = " + "[" * 9999, "is no TOML: "),
        (BASE + "[evaluation]\nmax_turns = 0", "evaluation: max_turns must be an integer from 1"),
        (BASE + BASE, "is no TOML: Cannot overwrite a value .at line 3"),
        ("sellers = [", "is no TOML: "),
    ],
)
def test_mistakes(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(ConvgymError, match=f"my-suite.toml.*{told}") as caught:
        read(tmp_path, text)
    assert "\n" not in str(caught.value)


def test_all_mistakes_come_at_once(tmp_path: Path) -> None:
    text = 'sellers = ["silnt"]\nconversations = -1\nevaluation_episodes = 1.5\nagnts = 3\n'
    with pytest.raises(ConvgymError) as caught:
        read(tmp_path, text)
    for told in ("'silnt'", "conversations", "evaluation_episodes", "'agnts'"):
        assert told in str(caught.value)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConvgymError, match=r"cannot read the suite .*nowhere\.toml: No such file"):
        get_suite(str(tmp_path / "nowhere.toml"))
    (tmp_path / "bytes.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(ConvgymError, match=r"bytes\.toml is no TOML: .*can't decode"):
        get_suite(str(tmp_path / "bytes.toml"))


@pytest.mark.parametrize("name", SUITES.names())
def test_what_is_written_is_read(tmp_path: Path, name: str) -> None:
    suite = get_suite(name)
    write_suite(suite, tmp_path / "mine.toml")
    assert get_suite(str(tmp_path / "mine.toml")) == replace(suite, name="mine")


def test_every_field_is_written(tmp_path: Path) -> None:
    suite = replace(read(tmp_path, WHOLE + 'customer_options = { max = "100 € \\n" }'), colder=0.5)
    suite = replace(suite, log="a log.jsonl", name="again")
    write_suite(suite, tmp_path / "again.toml")
    assert get_suite(str(tmp_path / "again.toml")) == suite
    assert all(getattr(suite, field.name) for field in fields(Suite)), "a field is not tried here"


def test_of_a_selection_what_is_kept_of_others_is_not_written(tmp_path: Path) -> None:
    write_suite(select(get_suite("frontier"), agents=["online-ppo@*"]), tmp_path / "mine.toml")
    assert get_suite(str(tmp_path / "mine.toml")).keep == ("*@4",)


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    write_suite(get_suite("ladder"), tmp_path / "mine.toml")
    with pytest.raises(ConvgymError, match=r"mine\.toml exists and is never overwritten"):
        write_suite(get_suite("smoke"), tmp_path / "mine.toml")


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        (
            {"overrides": {"online-ppo": {"deployment": object()}}},
            r"the suite smoke fits no file, for its agents: .* TOML",
        ),
        (
            {"overrides": {"online-ppo": {"deployment": None}}},
            r"can say null, which online-ppo\.deployment has: leave it out, or give it",
        ),
        (
            {
                "agents": ("iterative-ppo",),
                "overrides": {"iterative-ppo": {"personas": [None, "x"]}},
            },
            r"null, which iterative-ppo\.personas\[0\] has",
        ),
        (
            {"environment": {"customer": "hybrid", "customer_options": {"fluency": None}}},
            r"null, which environment\.customer_options\.fluency has",
        ),
    ],
)
def test_what_no_file_can_say(tmp_path: Path, changed: dict[str, Any], told: str) -> None:
    suite = replace(get_suite("smoke"), **changed)
    with pytest.raises(ConvgymError, match=told):
        write_suite(suite, tmp_path / "mine.toml")
    assert not (tmp_path / "mine.toml").exists()


def test_null_is_left_out_where_it_is_the_default(tmp_path: Path) -> None:
    suite = replace(
        get_suite("smoke"),
        sellers=("competent",),
        overrides={
            "online-ppo": {"rounds": None, "policy": {"catalog": None, "temperature": 0.5}},
            "competent": {"phrases": None},
        },
        environment={"persona": None, "customer_options": {"patience": None}},
    )
    write_suite(suite, tmp_path / "mine.toml")
    mine = get_suite(str(tmp_path / "mine.toml"))
    assert mine.overrides == {"online-ppo": {"policy": {"temperature": 0.5}}}
    assert mine.environment == {}


def test_a_number_without_end(tmp_path: Path) -> None:
    suite = replace(get_suite("smoke"), overrides={"online-ppo": {"target_kl": math.inf}})
    write_suite(suite, tmp_path / "mine.toml")  # as it is anyway
    assert get_suite(str(tmp_path / "mine.toml")).overrides == {}
    suite = replace(suite, overrides={"online-ppo": {"deployment": math.inf}})
    with pytest.raises(ConvgymError, match=r"can say Infinity, which online-ppo\.deployment has"):
        write_suite(suite, tmp_path / "other.toml")
