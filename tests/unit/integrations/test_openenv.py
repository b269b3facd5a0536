"""OpenEnv serves our environment, and its clients hold conversations through it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gymnasium
import pytest

from convgym.customers import Customer
from convgym.errors import ConvgymError
from convgym.seeds import EVALUATION_BASE
from convgym.sellers.prompt import seller_prompt

pytest.importorskip("openenv.core")
pytest.importorskip("uvicorn")

from convgym.integrations.openenv import (
    SalesClient,
    SalesOpenEnv,
    Utterance,
    make_app,
)

pytestmark = pytest.mark.filterwarnings("default")


def test_a_client_holds_the_conversation_of_the_environment(served: Callable[..., str]) -> None:
    options: dict[str, Any] = {"catalog": "insurance", "max_turns": 2}
    single = gymnasium.make("convgym/Sales-v0", **options)
    url = served(make_app(options))
    with SalesClient(base_url=url).sync() as client, SalesClient(base_url=url).sync() as other:
        heard = client.reset(seed=7).observation
        other.reset(seed=8)  # another conversation, at the same time
        _, info = single.reset(seed=7)
        assert heard.messages == [
            {"role": "system", "content": seller_prompt("insurance")},
            *info["messages"],
        ]
        assert client.state().episode_id == str(info["episode_seed"])
        for turn in (1, 2):
            result = client.step(Utterance(text="What is your budget?"))
            *_, info = single.step("What is your budget?")
            assert result.observation.messages[1:] == info["messages"]
            assert result.observation.text == info["messages"][-1]["content"]
            assert (result.reward, result.done) == (0.0, turn == 2)
        assert result.observation.outcome == "turn_limit"
        assert client.state().step_count == 2


def test_a_bare_client_meets_reserved_customers_by_their_seed(served: Callable[..., str]) -> None:
    from openenv import GenericEnvClient

    reserved = EVALUATION_BASE + 5
    single = gymnasium.make("convgym/Sales-v0")
    opening, _ = single.reset(options={"episode_seed": reserved})
    with GenericEnvClient(base_url=served(make_app({}))).sync() as client:
        result = client.reset(episode_seed=reserved)
        assert f"Customer: {result.observation['text']}" == opening


def test_a_failed_customer_has_no_reward(puppet: Callable[[], Customer]) -> None:
    env = SalesOpenEnv(customer=puppet, prompt="You know: {briefing}")
    assert env.reset(episode_seed=3).messages[0]["content"] == "You know: We sell strings."
    heard = env.step(Utterance(text="fail"))
    assert (heard.done, heard.reward, heard.failure) == (True, None, "connection lost")
    heard = env.reset(episode_seed=13)
    assert (heard.done, heard.reward, heard.failure) == (True, None, "no connection")
    env.reset(episode_seed=3)
    heard = env.step(Utterance(text="buy"))
    assert (heard.done, heard.reward, heard.outcome) == (True, 1.0, "purchase")
    env.reset()
    assert env.dialogue.seed is not None and env.dialogue.seed < EVALUATION_BASE


def test_options_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for given in ("[]", "{"):
        monkeypatch.setenv("CONVGYM_OPTIONS", given)
        with pytest.raises(ConvgymError, match="CONVGYM_OPTIONS must be options by name"):
            make_app()
    monkeypatch.setenv("CONVGYM_OPTIONS", '{"shop": "laptops"}')
    with pytest.raises(ConvgymError, match="unknown environment option"):
        make_app()
    assert make_app({"catalog": "insurance"})
