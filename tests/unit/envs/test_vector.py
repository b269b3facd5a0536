from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.error import ResetNeeded
from gymnasium.utils.env_checker import data_equivalence
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from gymnasium.wrappers.vector import DictInfoToList, RecordEpisodeStatistics

from convgym.customers import Customer
from convgym.envs import SalesEnv, SalesVectorEnv
from convgym.envs.moves import batch_infos
from convgym.errors import ConvgymError

PuppetFactory = Callable[[], Customer]
MODES = list(AutoresetMode)


def talk(envs: gymnasium.vector.VectorEnv[Any, Any, Any], steps: int, reset_ended: bool) -> Any:
    """Yield all that an environment says, with actions that end conversations at random."""
    rng = np.random.default_rng(0)
    yield envs.reset(seed=3)
    for _ in range(steps):
        words = ["hi", "hi", "hi", "buy", "leave", "fail"]
        result = envs.step(tuple(words[i] for i in rng.integers(6, size=envs.num_envs)))
        yield result
        ended = result[2] | result[3]
        if reset_ended and ended.any():
            yield envs.reset(options={"reset_mask": ended})


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("reveal", [False, True])
def test_the_same_as_gymnasiums_vector_of_single_environments(
    puppet: PuppetFactory, mode: AutoresetMode, reveal: bool
) -> None:
    options: dict[str, Any] = {"customer": puppet, "max_turns": 4, "reveal_latent": reveal}
    ours = SalesVectorEnv(5, autoreset_mode=mode, **options)
    theirs: Any = SyncVectorEnv([lambda: SalesEnv(**options)] * 5, autoreset_mode=mode)
    disabled = mode is AutoresetMode.DISABLED
    pairs = zip(talk(ours, 40, disabled), talk(theirs, 40, disabled), strict=True)
    for step, (mine, expected) in enumerate(pairs):
        assert data_equivalence(mine, expected, exact=True), step
    assert ours.np_random_seed == theirs.np_random_seed == (3, 4, 5, 6, 7)
    assert [rng.bit_generator.state for rng in ours.np_random] == [
        rng.bit_generator.state for rng in theirs.np_random
    ]


def test_infos_are_batched_as_gymnasium_does() -> None:
    infos: dict[int, dict[str, Any]] = {
        0: {"count": 1, "word": "a", "deep": {"x": 0.5, "list": [1, 2]}},
        2: {"count": 3, "flag": True, "deep": {"x": 1.5}},
    }
    expected: dict[str, Any] = {}
    vector = SalesVectorEnv(3)
    for i, info in infos.items():
        vector._add_info(expected, info, i)
    assert data_equivalence(batch_infos(infos, 3), expected, exact=True)


def test_infos_that_are_numbers_here_and_none_there() -> None:
    batch = batch_infos({0: {"utility": 0.5}, 1: {"utility": None}}, 3)
    assert batch["utility"].tolist() == [0.5, None, None]
    assert batch["_utility"].tolist() == [True, True, False]


def test_next_step_ignores_the_action_after_the_end(puppet: PuppetFactory) -> None:
    envs = SalesVectorEnv(2, customer=puppet)
    assert envs.metadata["autoreset_mode"] is AutoresetMode.NEXT_STEP
    envs.reset(seed=0)
    _, rewards, terminations, _, infos = envs.step(("buy", "a"))
    assert rewards.tolist() == [1.0, 0.0]
    assert terminations.tolist() == [True, False]
    assert infos["outcome"].tolist() == ["purchase", None]
    texts, rewards, terminations, _, infos = envs.step(("buy", "b"))
    assert rewards.tolist() == [0.0, 0.0]
    assert not terminations.any()
    assert texts[0].startswith("Customer: hello from")
    assert len(texts[0].splitlines()) == 1
    assert infos["turn"].tolist() == [0, 2]
    assert infos["_briefing"].tolist() == [True, False]


def test_same_step_keeps_the_end(puppet: PuppetFactory) -> None:
    envs = SalesVectorEnv(2, customer=puppet, autoreset_mode="SameStep")
    envs.reset(seed=0)
    texts, rewards, terminations, _, infos = envs.step(("buy", "a"))
    assert rewards.tolist() == [1.0, 0.0]
    assert terminations.tolist() == [True, False]
    assert infos["final_obs"][0].endswith("heard 1: buy")
    assert infos["final_info"]["outcome"][0] == "purchase"
    assert infos["_final_info"].tolist() == [True, False]
    assert "outcome" not in infos
    assert len(texts[0].splitlines()) == 1


def test_disabled_stands_still(puppet: PuppetFactory) -> None:
    envs = SalesVectorEnv(3, customer=puppet, autoreset_mode=AutoresetMode.DISABLED, max_turns=2)
    envs.reset(seed=0)
    ended, *_ = envs.step(("buy", "a", "fail"))
    for _ in range(2):
        texts, rewards, terminations, truncations, infos = envs.step(("a", "b", "c"))
        assert texts[0] == ended[0]
        assert rewards.tolist() == [0.0, 0.0, 0.0]
        assert terminations.tolist() == [True, False, False]
        assert truncations.tolist() == [False, True, True]
        assert not infos.get("_turn", np.zeros(3))[[0, 2]].any()
    mask = np.array([True, False, False])
    options = {"reset_mask": mask}
    again, infos = envs.reset(options=options)
    assert options == {"reset_mask": mask}  # left as it was
    assert again[1:] == texts[1:]
    assert infos["_turn"].tolist() == [True, False, False]
    assert envs.step(("buy", "x", "x"))[1].tolist() == [1.0, 0.0, 0.0]


def test_episode_seeds(puppet: PuppetFactory) -> None:
    envs = SalesVectorEnv(3, customer=puppet)
    _, infos = envs.reset(seed=[4, 5, None], options={"episode_seed": [2**31, None, 7]})
    single = SalesEnv(customer=puppet)
    drawn = single.reset(seed=5)[1]["episode_seed"]
    assert infos["episode_seed"].tolist() == [2**31, drawn, 7]
    _, infos = envs.reset(options={"episode_seed": np.arange(3)})
    assert infos["episode_seed"].tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    ("reset", "message"),
    [
        ({"seed": [1, 2]}, "seed must be 3 integers, got 2"),
        ({"options": {"episode_seed": 5}}, "episode_seed must be 3 integers, got 5"),
        ({"options": {"episode_seed": "123"}}, "episode_seed must be 3 integers, got '123'"),
        ({"options": {"mask": 1}}, "unknown reset option 'mask'"),
        ({"options": {"reset_mask": np.zeros(3, bool)}}, r"with a True in it, got.*0 true"),
        ({"options": {"reset_mask": np.ones(2, bool)}}, r"got dtype bool, shape \(2,\)"),
        ({"options": {"reset_mask": [1, 0, 1]}}, "got dtype int"),
    ],
)
def test_bad_resets(puppet: PuppetFactory, reset: dict[str, Any], message: str) -> None:
    with pytest.raises(ConvgymError, match=message):
        SalesVectorEnv(3, customer=puppet).reset(**reset)


@pytest.mark.parametrize(
    ("actions", "message"),
    [
        (("a",), "expected 2 actions.*tuple of length 1"),
        ("ab", "expected 2 actions.*str of length 2"),
        (("a", 3), "an action must be a str.*int: 3"),
    ],
)
def test_bad_actions_move_nobody(puppet: PuppetFactory, actions: Any, message: str) -> None:
    envs = SalesVectorEnv(2, customer=puppet)
    before, _ = envs.reset(seed=0)
    with pytest.raises(ConvgymError, match=message):
        envs.step(actions)
    assert tuple(dialogue.text for dialogue in envs.dialogues) == before


def test_step_before_reset_moves_nobody(puppet: PuppetFactory) -> None:
    envs = SalesVectorEnv(2, customer=puppet)
    with pytest.raises(ResetNeeded):
        envs.step(("a", "b"))
    envs.reset(options={"reset_mask": np.array([True, False])})
    with pytest.raises(ResetNeeded):
        envs.step(("a", "b"))
    assert envs.dialogues[0].turn == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_envs": 0}, "num_envs must be an integer from 1 upwards, got 0"),
        ({"num_envs": "2"}, "num_envs must be an integer from 1 upwards, got '2'"),
        ({"autoreset_mode": "Never"}, "unknown autoreset mode 'Never'"),
        ({"render_mode": "human"}, "unknown render mode 'human'; known: ansi"),
        ({"colour": "red"}, "unknown environment option 'colour'"),
    ],
)
def test_bad_arguments(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConvgymError, match=message):
        SalesVectorEnv(**options)


def test_a_customer_object_holds_one_conversation(puppet: PuppetFactory) -> None:
    SalesVectorEnv(1, customer=puppet()).reset()
    with pytest.raises(ConvgymError, match="pass its class"):
        SalesVectorEnv(2, customer=puppet())


def test_unseeded_resets_differ(puppet: PuppetFactory) -> None:
    envs = SalesVectorEnv(8, customer=puppet)
    seeds = [*envs.reset()[1]["episode_seed"], *envs.reset()[1]["episode_seed"]]
    assert len(set(seeds)) == 16


def test_render_and_close(puppet: PuppetFactory) -> None:
    envs = SalesVectorEnv(2, customer=puppet, render_mode="ansi")
    texts, _ = envs.reset(seed=0)
    assert envs.render() == texts
    customers: list[Any] = [dialogue.customer for dialogue in envs.dialogues]
    envs.close()
    envs.close()
    assert [customer.closed for customer in customers] == [1, 1]
    assert SalesVectorEnv(2, customer=puppet).render() is None


def test_gymnasiums_vector_wrappers_work(puppet: PuppetFactory) -> None:
    envs = DictInfoToList(RecordEpisodeStatistics(SalesVectorEnv(2, customer=puppet)))
    envs.reset(seed=0)
    envs.step(("a", "a"))
    *_, infos = envs.step(("buy", "a"))
    listed: Any = infos
    assert listed[0]["episode"]["r"] == 1.0
    assert listed[0]["episode"]["l"] == 2
    assert "episode" not in listed[1]


def test_seeds_from_numpy() -> None:
    envs, expected = SalesVectorEnv(np.int64(2)), SalesVectorEnv(2)  # type: ignore[arg-type]
    for mine, theirs in (
        ({"seed": np.int64(3)}, {"seed": 3}),
        ({"seed": np.array([3, 4])}, {"seed": [3, 4]}),
        ({"options": {"episode_seed": np.arange(2)}}, {"options": {"episode_seed": [0, 1]}}),
    ):
        assert data_equivalence(envs.reset(**mine), expected.reset(**theirs), exact=True)


@pytest.mark.parametrize(
    ("reset", "message"),
    [
        ({"seed": "1"}, "seed must be 2 integers, got '1'"),
        ({"seed": -1}, "a reset's seed must be an integer from 0 upwards, got -1"),
        ({"seed": ["1", "2"]}, "a seed must be an integer from 0 upwards, got '1'"),
        ({"options": "episode_seed"}, "a reset's options must be options by name"),
        ({"options": {"episode_seed": [0.5, 1]}}, "a episode_seed must be an integer"),
    ],
)
def test_bad_seeds(reset: dict[str, Any], message: str) -> None:
    with pytest.raises(ConvgymError, match=message):
        SalesVectorEnv(2).reset(**reset)


@pytest.mark.parametrize("actions", [None, 5, "ab", {0: "a", 1: "b"}, {"a", "b"}, iter(["a", "b"])])
def test_actions_that_are_no_sequence_of_texts(actions: Any) -> None:
    envs = SalesVectorEnv(2)
    envs.reset(seed=1)
    with pytest.raises(ConvgymError, match="expected 2 actions, one str for each"):
        envs.step(actions)
