from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.error import ResetNeeded

import convgym
from convgym.customers import Customer
from convgym.envs import SalesEnv
from convgym.envs.registration import SALES, register_environments
from convgym.errors import ConvgymError
from convgym.seeds import EVALUATION_BASE

PuppetFactory = Callable[[], Customer]


@pytest.fixture
def env(puppet: PuppetFactory) -> SalesEnv:
    return SalesEnv(customer=puppet, max_turns=3)


def test_a_purchase(env: SalesEnv) -> None:
    observation, info = env.reset(options={"episode_seed": 5})
    assert observation == "Customer: hello from 5"
    assert info == {
        "messages": [{"role": "user", "content": "hello from 5"}],
        "turn": 0,
        "episode_seed": 5,
        "briefing": "We sell strings.",
    }
    observation, reward, terminated, truncated, info = env.step("hello")
    assert observation.endswith("Seller: hello\nCustomer: customer 5 heard 1: hello")
    assert (reward, terminated, truncated, info["turn"]) == (0.0, False, False, 1)
    assert set(info) == {"messages", "turn", "episode_seed"}
    *_, reward, terminated, truncated, info = env.step("buy")
    assert (reward, terminated, truncated) == (1.0, True, False)
    assert info["outcome"] == "purchase"
    with pytest.raises(ResetNeeded):
        env.step("again")


def test_the_turn_limit_truncates_and_a_purchase_on_the_last_turn_terminates(env: SalesEnv) -> None:
    for last, expected in (("c", (0.0, False, True)), ("buy", (1.0, True, False))):
        env.reset(seed=0)
        env.step("a")
        env.step("b")
        assert env.step(last)[1:4] == expected


def test_a_failed_customer_truncates_without_reward(env: SalesEnv) -> None:
    env.reset(seed=0)
    _, *result, info = env.step("fail")
    assert result == [0.0, False, True]
    assert (info["outcome"], info["failure"]) == ("infrastructure_failure", "connection lost")


def test_step_before_reset(env: SalesEnv) -> None:
    with pytest.raises(ResetNeeded):
        env.step("hello")


def test_seeds(env: SalesEnv) -> None:
    def met(**reset: Any) -> int:
        seed = env.reset(**reset)[1]["episode_seed"]
        assert isinstance(seed, int)
        return seed

    first = [met(seed=1), met(), met()]
    assert first == [met(seed=1), met(), met()]
    assert len({*first, met(seed=2)}) == 4
    assert max(first) < EVALUATION_BASE
    # An episode seed of one's own draws nothing, so that the stream goes on as if it had not been.
    met(seed=1)
    assert met(options={"episode_seed": EVALUATION_BASE}) == EVALUATION_BASE
    assert [met(), met()] == first[1:]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"episode_sed": 1}, r"unknown reset option 'episode_sed'.*did you mean 'episode_seed'"),
        ({"episode_seed": "one"}, "an episode seed must be an integer from 0 upwards, got 'one'"),
    ],
)
def test_bad_reset_options(env: SalesEnv, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConvgymError, match=message):
        env.reset(options=options)


def test_latent_state_is_shown_only_on_request(puppet: PuppetFactory) -> None:
    env = SalesEnv(customer=puppet, reveal_latent=True)
    _, info = env.reset(options={"episode_seed": 5})
    assert info["latent"]["seed"] == 5
    assert env.step("x")[-1]["latent"]["heard"] == {"last": "x"}


def test_ansi(puppet: PuppetFactory) -> None:
    env = SalesEnv(customer=puppet, render_mode="ansi")
    observation, _ = env.reset(seed=0)
    assert env.render() == observation


def test_human_prints_every_line_once(
    puppet: PuppetFactory, capsys: pytest.CaptureFixture[str]
) -> None:
    env = SalesEnv(customer=puppet, render_mode="human")
    env.reset(options={"episode_seed": 1})
    env.step("\x1b[2Jone")
    observation, *_ = env.step("two")
    assert env.render() is None
    env.step("fail")
    assert capsys.readouterr().out == observation + "\n"
    env.reset(options={"episode_seed": 2})
    assert capsys.readouterr().out == "Customer: hello from 2\n"


def test_render_without_a_mode_warns(env: SalesEnv) -> None:
    with pytest.warns(UserWarning, match="without a render_mode"):
        env.render()


def test_unknown_render_mode_or_option() -> None:
    with pytest.raises(ConvgymError, match="unknown render mode 'rgb_array'; known: ansi, human"):
        SalesEnv(render_mode="rgb_array")
    with pytest.raises(ConvgymError, match="unknown environment option 'colour'"):
        gymnasium.make(SALES, colour="red")


def test_close_closes_the_customer_once(puppet: PuppetFactory) -> None:
    customer: Any = puppet()
    env = SalesEnv(customer=customer)
    env.close()
    env.close()
    assert customer.closed == 1


def test_made_by_name_with_the_package() -> None:
    env = gymnasium.make("convgym:convgym/Sales-v0", persona=None, patience=4.0)
    assert isinstance(env.unwrapped, SalesEnv)
    _, info = env.reset(seed=0)
    assert "You sell" in info["briefing"]
    assert gymnasium.spec(SALES).id == "convgym/Sales-v0"
    assert convgym.__version__


def test_registering_again_is_silent() -> None:
    register_environments()


def test_the_docstring_has_gymnasiums_headings() -> None:
    headings = (
        "Description, Action Space, Observation Space, Starting State, Rewards, Episode End,"
        " Information, Arguments, References, Version History"
    )
    found = [line[3:] for line in str(SalesEnv.__doc__).split("\n    ") if line.startswith("## ")]
    assert found == headings.split(", ")


def test_seeds_from_numpy() -> None:
    for seed in (np.int64(3), np.uint8(3)):
        assert SalesEnv().reset(seed=seed)[0] == SalesEnv().reset(seed=3)[0]  # type: ignore[arg-type]


@pytest.mark.parametrize("seed", ["1", 1.0, -1, True, [1]])
def test_what_is_no_seed(seed: Any) -> None:
    with pytest.raises(ConvgymError, match="a reset's seed must be an integer from 0 upwards, got"):
        SalesEnv().reset(seed=seed)
    with pytest.raises(ConvgymError, match="a reset's options must be options by name, got"):
        SalesEnv().reset(options=seed)


def test_the_first_version_is_not_out_of_date() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for name in ("convgym/Sales-v0", "convgym/Sales-v1"):
            assert gymnasium.make(name).spec.id == name  # type: ignore[union-attr]
