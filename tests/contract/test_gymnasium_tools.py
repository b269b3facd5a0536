"""Which of Gymnasium's wrappers work, as docs/environment.md lists them, and how it travels."""

from __future__ import annotations

import copy
import importlib
import multiprocessing
import pickle
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces, wrappers
from gymnasium.utils.env_checker import data_equivalence
from gymnasium.wrappers import vector as vector_wrappers

import convgym  # noqa: F401  (registers)
from convgym.errors import ConvgymError
from convgym.rollout import rollout
from convgym.sellers import REFERENCE_SELLERS, make_seller

IDS = ["convgym/Sales-v0", "convgym/Sales-v1", "convgym/Suggest-v0"]
QUESTION = "What will you use it for?"
Env = gymnasium.Env[Any, Any]
cloudpickle: Any = importlib.import_module("cloudpickle")  # Gymnasium's, without type hints


def play(env: Env, seed: int = 3) -> list[Any]:
    """Hold a conversation and return all that came."""
    heard: list[Any] = [env.reset(seed=seed)]
    env.action_space.seed(0)
    for _ in range(20):
        heard.append(env.step(QUESTION))
        assert heard[-1][0] in env.observation_space
        if heard[-1][2] or heard[-1][3]:
            break
    return heard


SAME: dict[str, Callable[[Env], Env]] = {
    "Autoreset": wrappers.Autoreset,
    "ClipReward": lambda env: wrappers.ClipReward(env, 0, 1),
    "FlattenObservation": wrappers.FlattenObservation,
    "OrderEnforcing": wrappers.OrderEnforcing,
    "PassiveEnvChecker": wrappers.PassiveEnvChecker,
    "RecordEpisodeStatistics": wrappers.RecordEpisodeStatistics,
    "TimeLimit": lambda env: wrappers.TimeLimit(env, 100),
    "TransformAction": lambda env: wrappers.TransformAction(env, str, env.action_space),
    "TransformReward": lambda env: wrappers.TransformReward(env, float),
    "TransformObservation": lambda env: wrappers.TransformObservation(
        env, str, env.observation_space
    ),
}


@pytest.mark.parametrize("name", IDS)
@pytest.mark.parametrize("wrap", SAME.values(), ids=SAME.keys())
def test_wrappers_that_leave_texts_as_they_are(name: str, wrap: Callable[[Env], Env]) -> None:
    wrapped, plain = play(wrap(gymnasium.make(name))), play(gymnasium.make(name))
    assert [step[0] for step in wrapped] == [step[0] for step in plain]


def test_frame_stacks() -> None:
    env = gymnasium.make("convgym/Sales-v0")
    texts = [step[0] for step in play(env)]
    stacked = play(wrappers.FrameStackObservation(env, 3))
    assert stacked[0][0] == (texts[0],) * 3
    assert stacked[2][0] == tuple(texts[:3])
    padded = play(wrappers.FrameStackObservation(env, 3, padding_type="zero"))
    assert padded[0][0] == ("", "", texts[0])
    own = play(wrappers.FrameStackObservation(env, 2, padding_type="..."))
    assert own[0][0] == ("...", texts[0])


def test_delays() -> None:
    env = gymnasium.make("convgym/Sales-v0")
    texts = [step[0] for step in play(env)]
    delayed = [step[0] for step in play(wrappers.DelayObservation(env, 2))]
    assert delayed == ["", "", *texts[:-2]]


@pytest.mark.parametrize("flat", [False, True])
def test_time_awareness(flat: bool) -> None:
    env = gymnasium.make("convgym/Sales-v0")
    texts = [step[0] for step in play(env)]
    limited = wrappers.TimeLimit(env, 100)
    aware = [step[0] for step in play(wrappers.TimeAwareObservation(limited, flatten=flat))]
    assert [each["obs"] for each in aware] == texts
    assert len({str(each["time"]) for each in aware}) == len(texts)


def test_what_repeats_actions() -> None:
    env = wrappers.StickyAction(gymnasium.make("convgym/Sales-v0"), 0.5)
    play(env)
    counted = wrappers.RecordEpisodeStatistics(gymnasium.make("convgym/Sales-v0"))
    assert play(counted)[-1][4]["episode"]["r"] in (0.0, 1.0)


def test_pictures_of_texts() -> None:
    env = gymnasium.make("convgym/Sales-v0", render_mode="ansi")
    collected = wrappers.RenderCollection(env)
    play(collected)
    frames = collected.render()
    assert isinstance(frames, list)
    assert all(isinstance(frame, str) for frame in frames)


def test_what_wants_numbers_is_refused_in_one_line() -> None:
    env = gymnasium.make("convgym/Sales-v0")
    with pytest.raises(ConvgymError, match="no flat size: embed or tokenize it"):
        spaces.flatdim(env.observation_space)
    both = spaces.Dict({"words": env.observation_space, "mood": spaces.Discrete(3)})
    sample = both.sample()
    flat = spaces.flatten(both, sample)
    assert flat in spaces.flatten_space(both)
    assert spaces.unflatten(both, flat) == sample
    for wrap in (
        lambda env: wrappers.DtypeObservation(env, np.float32),
        wrappers.NormalizeObservation,
        lambda env: wrappers.ReshapeObservation(env, (2,)),
    ):
        with pytest.raises((AssertionError, TypeError, ValueError)):
            play(wrap(env))


VECTOR_SAME: dict[str, Callable[[Any], Any]] = {
    "ClipReward": lambda envs: vector_wrappers.ClipReward(envs, 0, 1),
    "DictInfoToList": vector_wrappers.DictInfoToList,
    "RecordEpisodeStatistics": vector_wrappers.RecordEpisodeStatistics,
    "TransformReward": lambda envs: vector_wrappers.TransformReward(envs, np.asarray),
}


@pytest.mark.parametrize("wrap", VECTOR_SAME.values(), ids=VECTOR_SAME.keys())
def test_vector_wrappers_that_leave_texts_as_they_are(wrap: Callable[[Any], Any]) -> None:
    plain = gymnasium.make_vec("convgym/Sales-v0", num_envs=3)
    wrapped = wrap(gymnasium.make_vec("convgym/Sales-v0", num_envs=3))
    assert wrapped.reset(seed=1)[0] == plain.reset(seed=1)[0]
    for _ in range(15):
        assert wrapped.step((QUESTION,) * 3)[0] == plain.step((QUESTION,) * 3)[0]


@pytest.mark.parametrize("options", [{}, {"shared_memory": False}, {"copy": False}])
def test_worker_processes(options: dict[str, Any]) -> None:
    envs: Any = gymnasium.make_vec(
        "convgym/Sales-v0", num_envs=2, vectorization_mode="async", vector_kwargs=options
    )
    plain = gymnasium.make_vec("convgym/Sales-v0", num_envs=2)
    try:
        assert tuple(envs.reset(seed=1)[0]) == plain.reset(seed=1)[0]
        before = None
        for _ in range(15):
            actions = (QUESTION, "¿Qué tal? 你好 🙂")
            found, expected = envs.step(actions)[0], plain.step(actions)[0]
            assert tuple(found) == expected
            assert tuple(found) != before
            before = tuple(found)
    finally:
        envs.close()


def test_a_text_that_does_not_fit_into_shared_memory_is_told() -> None:
    from gymnasium.vector.utils import (
        create_shared_memory,
        read_from_shared_memory,
        write_to_shared_memory,
    )

    from convgym.envs.spaces import SHARED_TEXT_BYTES, Utterance

    space: Any = Utterance()
    memory = create_shared_memory(space, n=2)
    texts: Any = read_from_shared_memory(space, memory, n=2)
    longest: Any = "é" * (SHARED_TEXT_BYTES // 2)
    write_to_shared_memory(space, 1, longest, memory)
    assert list(texts) == ["", longest]
    assert texts[::-1] == (longest, "")
    half: Any = "\ud800"
    write_to_shared_memory(space, 1, half, memory)
    assert copy.deepcopy(texts) == ("", "\ud800")
    with pytest.raises(ConvgymError, match=r"does not fit .*'shared_memory': False"):
        write_to_shared_memory(space, 0, longest + "é", memory)
    assert texts[0] == ""


# How environments and policies travel: to Ray, to a pool of processes, into a copy.

CARRIERS: dict[str, Callable[[Any], Any]] = {
    "pickle": lambda thing: pickle.loads(pickle.dumps(thing)),
    "cloudpickle": lambda thing: cloudpickle.loads(cloudpickle.dumps(thing)),
    "deepcopy": copy.deepcopy,
}


@pytest.mark.parametrize("carry", CARRIERS.values(), ids=CARRIERS.keys())
@pytest.mark.parametrize("name", IDS)
@pytest.mark.parametrize("options", [{}, {"catalog": "bicycles", "personas": "difficult"}])
def test_a_copy_goes_on_as_the_original(
    name: str, options: dict[str, Any], carry: Callable[[Any], Any]
) -> None:
    env = gymnasium.make(name, reveal_latent=True, **options)
    env.reset(seed=5)
    offer = f"I recommend the {env.unwrapped._dialogue.customer.catalog.products[0].name}."  # type: ignore[attr-defined]
    for words in (QUESTION, offer):
        env.step(words)
    twin = carry(env)
    for words in (offer.replace("recommend", "suggest"), "What is your budget?", "Deal?"):
        assert data_equivalence(env.step(words), twin.step(words), exact=True)
    assert data_equivalence(env.reset(), twin.reset(), exact=True)


@pytest.mark.parametrize("carry", CARRIERS.values(), ids=CARRIERS.keys())
@pytest.mark.parametrize("name", IDS)
def test_a_vector_goes_on_as_the_original(name: str, carry: Callable[[Any], Any]) -> None:
    envs = gymnasium.make_vec(name, num_envs=3)
    for fresh in (True, False):
        twin = carry(envs)
        if fresh:
            assert data_equivalence(twin.reset(seed=2), envs.reset(seed=2), exact=True)
        for _ in range(5):
            said = (QUESTION, "What is your budget?", "Would you like to buy it?")
            assert data_equivalence(twin.step(said), envs.step(said), exact=True)
        envs = twin


@pytest.mark.parametrize("carry", CARRIERS.values(), ids=CARRIERS.keys())
@pytest.mark.parametrize("name", REFERENCE_SELLERS)
def test_a_seller_goes_on_as_the_original(name: str, carry: Callable[[Any], Any]) -> None:
    seller = make_seller(name)
    options = {"reveal_latent": True}
    episodes = rollout(seller, range(5), environment=options)
    assert rollout(carry(seller), range(5), environment=options) == episodes


def test_copies_are_small_and_share_the_ear() -> None:
    env = gymnasium.make("convgym/Sales-v0")
    assert len(pickle.dumps(env)) < 100_000
    twin: Any = pickle.loads(pickle.dumps(env))
    assert twin.unwrapped._dialogue.customer._ear is env.unwrapped._dialogue.customer._ear  # type: ignore[attr-defined]


POOL = """
import multiprocessing
from functools import partial
from convgym.envs import (SalesEnv)
from convgym.rollout import (rollout)
from convgym.sellers import make_seller

def first_words(env):
    return env.reset(seed=3)[0]

if __name__ == "__main__":
    with multiprocessing.get_context("METHOD").Pool(2) as pool:
        parts = pool.map(partial(rollout, make_seller("mediocre")), [range(0, 4), range(4, 8)])
        env = SalesEnv()
        assert pool.map(first_words, [env, env]) == [env.reset(seed=3)[0]] * 2
    assert parts[0] + parts[1] == rollout(make_seller("mediocre"), range(8))
    print("equal")
"""


@pytest.mark.parametrize("method", multiprocessing.get_all_start_methods())
def test_rollouts_in_a_pool_of_processes(method: str, tmp_path: Any) -> None:
    program = tmp_path / "pool.py"
    program.write_text(POOL.replace("METHOD", method))
    done = subprocess.run([sys.executable, str(program)], capture_output=True, text=True)
    assert done.stdout.strip() == "equal", done.stderr


@pytest.mark.parametrize("kind", [gymnasium.vector.SyncVectorEnv, gymnasium.vector.AsyncVectorEnv])
def test_customers_that_differ_side_by_side(kind: Any) -> None:
    envs = kind([partial(gymnasium.make, name) for name in IDS], observation_mode="different")
    try:
        assert envs.reset(seed=1)[0] in envs.observation_space
        assert envs.step((QUESTION,) * len(IDS))[0] in envs.observation_space
    finally:
        envs.close()
