"""Suites: who runs, with which seeds, and how long that is expected to take."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from convgym.agents import AGENTS
from convgym.benchmarks.runs.suites import (
    SUITES,
    Job,
    Suite,
    agent_of,
    expected_seconds,
    get_suite,
    jobs,
    select,
    time_left,
)
from convgym.errors import ConvgymError
from convgym.registry import Registry
from convgym.sellers import REFERENCE_SELLERS


def test_unknown_suite_names_it_and_what_is_known() -> None:
    with pytest.raises(ConvgymError, match=r"unknown suite 'quik'.*ladder, quick.*mean 'quick'"):
        get_suite("quik")


SHIPPED = [get_suite(name) for name in SUITES.shipped]


def test_suites_are_filed_under_their_names() -> None:
    assert [suite.name for suite in SHIPPED] == list(SUITES.shipped)
    assert all(SUITES.summary(suite.name) == suite.description for suite in SHIPPED)


def test_quick_compares_every_reference_seller() -> None:
    assert get_suite("quick").sellers == REFERENCE_SELLERS
    assert get_suite("ladder").sellers == REFERENCE_SELLERS
    assert get_suite("ladder").evaluation_episodes == 10_000


def test_suites_name_agents_and_sellers_that_there_are() -> None:
    for suite in SHIPPED:
        assert {*map(agent_of, suite.agents)} <= set(AGENTS.shipped)
        assert {*suite.overrides, *suite.seeds} <= set(suite.agents)
        assert set(suite.sellers) <= set(REFERENCE_SELLERS)
    named = {agent_of(name) for suite in ("quick", "frontier") for name in get_suite(suite).agents}
    # Those that learn from a log of others are compared on one (convgym study offline).
    of_logs = {"awr", "ilql", "offline-iterative-ppo", "outcome-dpo"}
    assert named == set(AGENTS.shipped) - of_logs


def test_jobs_start_with_the_sellers_and_train_every_seed(suite: Suite) -> None:
    assert [(job.kind, job.name, job.seed) for job in jobs(suite, 3)] == [
        ("seller", "silent", 3),
        ("seller", "competent", 3),
        ("start", "small-seller", 3),
        ("agent", "bc", 6),
        ("agent", "bc", 7),
        ("agent", "online-ppo", 6),
        ("agent", "online-ppo", 7),
    ]


def test_runs_under_different_seeds_share_no_training_seed() -> None:
    suite = get_suite("standard")
    seeds = [job.seed for seed in range(4) for job in jobs(suite, seed) if job.name == "bc"]
    assert len(seeds) == len(set(seeds)) == 20


def test_no_agents_no_starting_policy(suite: Suite) -> None:
    assert {job.kind for job in jobs(select(suite, agents=[]), 0)} == {"seller"}


def test_labels_are_unique() -> None:
    for suite in SHIPPED:
        labels = [job.label for job in jobs(suite, 1)]
        assert len(labels) == len(set(labels))


def test_negative_seeds_are_refused(suite: Suite) -> None:
    with pytest.raises(ConvgymError, match="-1"):
        jobs(suite, -1)


def test_select_keeps_order_drops_doubles_and_merges_the_environment(suite: Suite) -> None:
    one = select(suite, environment={"max_turns": 5})
    two = select(one, agents=["b", "a", "b"], sellers=[], environment={"catalog": "mobile"})
    assert two.agents == ("b", "a") and two.sellers == ()
    assert two.environment == {"max_turns": 5, "catalog": "mobile"}
    assert select(suite) == suite


def test_training_takes_longer_than_evaluating() -> None:
    suite = get_suite("quick")
    seller, start, agent = (
        expected_seconds(suite, Job(kind, "online-ppo", 0)) for kind in ("seller", "start", "agent")
    )
    assert 0 < seller < start < agent


def test_time_left_is_as_expected_at_the_start_and_none_at_the_end() -> None:
    assert time_left([], [(10, 0)], [20, 30]) == 60
    assert time_left([], [(10, 4)], [20, 30]) == 56
    assert time_left([], [], [10, 20, 30]) == 60
    assert time_left([(10, 10), (20, 20), (30, 30)], [], []) == 0
    assert time_left([], [], []) == 0


def test_time_left_learns_the_speed_of_the_machine() -> None:
    assert time_left([(10, 20)], [(20, 0)], [30]) == 100
    # The second job should be over by now: a tenth of what it took so far is added.
    assert time_left([(10, 5)], [(20, 10)], [30]) == 15 + 1


def test_jobs_side_by_side_share_what_is_left() -> None:
    assert time_left([], [(10, 0), (10, 0)], [20, 20]) == 30
    # Nobody helps with the last one.
    assert time_left([(10, 10)], [(100, 10), (20, 10)], []) == 90


times = st.tuples(st.floats(0.1, 1e4), st.floats(0, 1e5))


@given(st.lists(times), st.lists(times), st.lists(st.floats(0.1, 1e4)))
def test_time_left_is_never_negative(
    over: list[tuple[float, float]], at_hand: list[tuple[float, float]], waiting: list[float]
) -> None:
    assert time_left(over, at_hand, waiting) >= 0


def test_settings_of_an_agent_come_before_the_suites_own(suite: Suite) -> None:
    one = select(suite, settings=[("bc.epochs", 3), ("online-ppo.gamma", 0.9)])
    assert one.overrides == {"bc": {"epochs": 3}, "online-ppo": {"gamma": 0.9}}
    two = select(one, settings=[("bc.epochs", 4), ("bc.policy.model", "x")])
    assert two.overrides["bc"] == {"epochs": 4, "policy": {"model": "x"}}
    assert suite.overrides == {} and one.overrides["bc"] == {"epochs": 3}


def test_settings_reach_into_mappings_and_names() -> None:
    smoke = get_suite("smoke")
    changed = select(smoke, settings=[("iterative-ppo.improvement.epochs", 2)])
    assert changed.overrides["iterative-ppo"] == {
        **smoke.overrides["iterative-ppo"],
        "improvement": {
            "name": "token-ppo",
            "fresh_steps": 1,
            "fresh_conversations": 8,
            "epochs": 2,
        },
    }
    assert "rounds" in changed.overrides["iterative-ppo"]
    named = [("iterative-ppo.improvement", "grpo"), ("iterative-ppo.improvement.steps", 2)]
    changed = select(smoke, settings=named)
    assert changed.overrides["iterative-ppo"]["improvement"] == {"name": "grpo", "steps": 2}
    assert smoke.overrides["iterative-ppo"]["improvement"]["fresh_steps"] == 1


def test_settings_of_an_agent_whose_name_has_dots(suite: Suite) -> None:
    chosen = select(suite, agents=["a.b:C", "a"], settings=[("a.b:C.x.y", 1), ("a.b", 2)])
    assert chosen.overrides == {"a.b:C": {"x": {"y": 1}}, "a": {"b": 2}}


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("ppo.rounds", "the setting 'ppo.rounds' is none of an agent that runs.*bc, online-ppo"),
        ("bc", "the setting 'bc' is none of"),
        ("bc.", "expected <agent>.<setting>, got 'bc.'"),
        ("bc.a..b", "expected <agent>.<setting>, got 'bc.a..b'"),
    ],
)
def test_settings_of_nobody(suite: Suite, path: str, told: str) -> None:
    with pytest.raises(ConvgymError, match=told):
        select(suite, settings=[(path, 1)])


def test_a_suite_is_found_as_other_things_are(
    restored: Callable[[Registry[Any]], None], suite: Suite
) -> None:
    restored(SUITES)
    SUITES.register("tiny", suite)
    assert get_suite("tiny") is suite
    assert get_suite("convgym.benchmarks.runs.suites:QUICK") is get_suite("quick")
    with pytest.raises(ConvgymError, match=r"suite 'math:pi' must be a Suite, got '3.14"):
        get_suite("math:pi")


def test_labels_are_names_of_files() -> None:
    assert Job("agent", "mypkg.mine:Mine", 3).label == "mypkg.mine-Mine-seed3"
    assert Job("seller", "mypkg:Mine", 3).label == "mypkg-Mine"


@pytest.mark.parametrize(
    ("name", "agent"),
    [("bc", "bc"), ("bc@2", "bc"), ("a.b:C@big-0.1", "a.b:C"), ("iterative-ppo@letter-2",) * 2],
)
def test_a_variant_is_its_agent_under_another_name(name: str, agent: str) -> None:
    assert agent_of(name) == agent.partition("@")[0]


@pytest.mark.parametrize("name", ["bc@", "bc@a,b", "bc@a=b", "bc@a@b", "bc@*", "bc@.."])
def test_labels_mean_nothing_on_a_command_line(name: str) -> None:
    with pytest.raises(ConvgymError, match="expected a variant as NAME@LABEL"):
        agent_of(name)


def test_settings_are_of_one_variant(suite: Suite) -> None:
    agents = ["bc", "bc@2", "bc@2.5", "a:B@x"]
    settings = [("bc@2.rate", 1), ("bc@2.5.rate", 2), ("a:B@x.policy.model", 3), ("bc.rate", 4)]
    assert select(suite, agents=agents, settings=settings).overrides == {
        "bc": {"rate": 4},
        "bc@2": {"rate": 1},
        "bc@2.5": {"rate": 2},
        "a:B@x": {"policy": {"model": 3}},
    }


def test_a_pattern_stands_for_the_suites_agents_that_it_fits(suite: Suite) -> None:
    suite = replace(suite, agents=("bc@1", "bc@2", "online-ppo@2"), seeds={"bc@1": 1, "bc@2": 4})
    assert select(suite, agents=["*@2", "x", "bc@*"]).agents == (
        "bc@2",
        "online-ppo@2",
        "x",
        "bc@1",
    )
    assert select(suite, agents=["*@2"]).seeds == {"bc@2": 4}
    with pytest.raises(ConvgymError, match=r"'x@\*' fits none .* which are bc@1, bc@2, online"):
        select(suite, agents=["x@*"])
    with pytest.raises(ConvgymError, match=r"'bc@3' is none .* has bc@1, bc@2; .* --set bc@3\."):
        select(suite, agents=["bc@3"])
    assert select(suite, agents=["bc@3"], settings=[("bc@3.rate", 1)]).agents == ("bc@3",)
    assert select(suite, agents=["awr@3"]).agents == ("awr@3",)


def test_single_agents_may_have_other_numbers_of_seeds(suite: Suite) -> None:
    suite = replace(suite, seeds={"bc": 3})
    seeds = [
        [job.seed for job in jobs(suite, seed) if job.name == name]
        for name in ("bc", "online-ppo")
        for seed in (0, 1)
    ]
    assert seeds == [[0, 1, 2], [3, 4, 5], [0, 1], [2, 3]]


def test_the_frontier_spends_one_budget_on_every_number_of_deployments() -> None:
    suite = get_suite("frontier")
    families: dict[str, set[int]] = {}
    for name in suite.agents:
        family, _, deployments = re.fullmatch(r"(.*@(.*-)?)(\d+)", name).groups()  # type: ignore[union-attr]
        families.setdefault(family, set()).add(int(deployments))
        assert suite.overrides[name]["rounds"] == int(deployments)
        assert len(suite.seeds_of(name, 0)) == (5 if int(deployments) in (2, 4, 8) else 1)
    assert len(families) == 8 and set(map(frozenset, families.values())) == {
        frozenset({1, 2, 4, 8, 16})
    }


def test_the_cold_frontier_is_the_frontier_but_for_the_temperature_of_deployments() -> None:
    warm, cold = get_suite("frontier"), get_suite("frontier-cold")
    same = ("conversations", "evaluation_episodes", "training_seeds", "colder", "environment")
    assert all(getattr(warm, field) == getattr(cold, field) for field in same)
    for name in cold.agents:
        settings = dict(cold.overrides[name])
        assert settings.pop("exploration") == [0.25]
        of_warm = name.replace("cold-", "")
        assert settings == warm.overrides[of_warm]
        assert cold.seeds_of(name, 9) == warm.seeds_of(of_warm, 9)


def test_the_long_frontier_deploys_as_many_conversations_at_once_as_four_deployments_do() -> None:
    short, long = get_suite("frontier"), get_suite("frontier-long")
    assert long.conversations == 16_384
    for name in long.agents:
        settings = dict(long.overrides[name])
        assert settings.pop("rounds") == 16
        assert long.conversations // 16 == short.conversations // 4
        of_four = dict(short.overrides[name.replace("@16", "@4")])
        of_four.pop("gate", None)  # left in, for who takes so many steps meets a bad one
        assert {"rounds": 4, **settings} == of_four
        assert len(long.seeds_of(name, 0)) == 2
