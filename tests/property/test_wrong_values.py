"""Whatever is given for a setting, a seed or an option: it works, or is refused in one line."""

from __future__ import annotations

import dataclasses
import math
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from convgym.agents import make_agent
from convgym.agents.algorithms.behaviour_cloning import BehaviourCloningConfig
from convgym.agents.algorithms.iterative_ppo import IterativePPOConfig
from convgym.agents.algorithms.online_ppo import OnlinePPOConfig
from convgym.agents.improvement.token_ppo import TokenPPO
from convgym.agents.model.config import PolicyConfig
from convgym.agents.training.collector import Collector
from convgym.agents.values.q_function import QFunctionConfig
from convgym.envs.scenario import Scenario
from convgym.errors import ConvgymError
from convgym.logs import read_log, write_log
from convgym.rollout import rollout
from convgym.sellers import make_seller

ODD = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 3),
    st.floats(),
    st.sampled_from(["", "1", "hot", b"x", math.nan, math.inf, -1, 2**70, [], {}, (), object]),
    st.sampled_from([np.int64(3), np.float32(0.5), np.array([1, 2]), np.bool_(True)]),
)
CONFIGS: list[type[Any]] = [
    *(PolicyConfig, QFunctionConfig, TokenPPO),
    *(BehaviourCloningConfig, OnlinePPOConfig, IterativePPOConfig),
]


def numbers(config: type[Any]) -> list[str]:
    """Return the fields of a config that hold numbers by default."""
    return [
        field.name
        for field in dataclasses.fields(config)
        if isinstance(field.default, int | float) and not isinstance(field.default, bool)
    ]


@given(st.data())
def test_a_config_holds_numbers_that_can_be_or_is_not_made(data: st.DataObject) -> None:
    config = data.draw(st.sampled_from(CONFIGS))
    name = data.draw(st.sampled_from(numbers(config)))
    try:
        made = config(**{name: data.draw(ODD)})
    except ConvgymError as error:
        assert len(str(error).splitlines()) == 1
        return
    value = getattr(made, name)
    assert isinstance(value, int | float) and not math.isnan(value) and value >= 0


@given(st.sampled_from(["max_turns", "patience", "customer_options"]), ODD)
def test_an_environment_takes_an_option_or_names_it(name: str, value: Any) -> None:
    try:
        for dialogue in Scenario.of({name: value}).dialogues(1):
            dialogue.reset(0)
    except ConvgymError as error:
        assert len(str(error).splitlines()) == 1


@given(st.sampled_from([np.int64, np.int32, np.uint32, np.uint64, np.intp]), st.integers(0, 2**30))
def test_seeds_of_numpy_are_pythons_from_the_door_to_the_log(
    kind: type[np.integer[Any]], seed: int
) -> None:
    given_seeds: list[Any] = [kind(seed)]
    episodes = rollout(make_seller("competent"), given_seeds, policy_seed=int(kind(3)))
    assert type(episodes[0].seed) is int
    with tempfile.TemporaryDirectory() as folder:
        write_log(Path(folder) / "log.jsonl", episodes)
        assert read_log(Path(folder) / "log.jsonl").episodes == episodes
    collector = Collector(1, seed=int(kind(seed)))
    assert type(collector.seed) is int


@pytest.mark.parametrize("value", ["gpu0", "cuda:x", "", "tpu"])
def test_an_unknown_device_is_named(value: str) -> None:
    with pytest.raises(ConvgymError, match="device"):
        make_agent("bc", policy={"device": value})
