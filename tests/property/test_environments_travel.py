"""Environments go on in another process as here, from any point of a conversation."""

from __future__ import annotations

import copy
import pickle

import gymnasium
from hypothesis import given, settings
from hypothesis import strategies as st

import convgym  # noqa: F401 - registers the environments
from convgym.benchmarks.terminal import printable
from convgym.envs.sales import SalesEnv

LINES = st.sampled_from(
    [
        "What will you use it for?",
        "What is your budget?",
        "I recommend the Kestrel.",
        "It comes with a two year warranty.",
        "Shall I place the order?",
        "",
        "Buy it now!",
        "½½½ <think>no</think> well",
    ]
)


@settings(max_examples=40)
@given(
    st.sampled_from(["convgym/Sales-v0", "convgym/Sales-v1", "convgym/Suggest-v0"]),
    st.integers(0, 2**31 - 1),
    st.lists(LINES, max_size=4),
    st.lists(LINES, min_size=1, max_size=4),
)
def test_a_copy_goes_on_as_the_original(
    name: str, seed: int, before: list[str], after: list[str]
) -> None:
    env = gymnasium.make(name).unwrapped
    assert isinstance(env, SalesEnv)
    env.reset(options={"episode_seed": seed})
    for line in before:
        if env.step(line)[2]:
            return
    others = [pickle.loads(pickle.dumps(env)), copy.deepcopy(env)]
    for line in after:
        step = env.step(line)
        assert [other.step(line) for other in others] == [step, step]
        if step[2] or step[3]:
            return


@given(st.text())
def test_nothing_on_the_terminal_steers_it(text: str) -> None:
    shown = printable(text)
    assert not any((ord(c) < 32 and c not in "\n\t") or 127 <= ord(c) < 160 for c in shown)
