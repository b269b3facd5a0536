"""A conversation on chat messages: the same that Gymnasium's environment holds."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from typing import Any

import gymnasium
import pytest
from gymnasium.error import ResetNeeded

from convgym.customers import Customer, Reply
from convgym.errors import ConvgymError, InfrastructureError
from convgym.integrations.messages import MessageEnv, customer_seeds, words
from convgym.seeds import evaluation_seeds, train_seeds
from convgym.sellers.prompt import seller_prompt

SAID = ["What will you use it for?", "What is your budget?", "Shall I place the order?", "Well?"]


def test_it_is_the_conversation_of_the_environment() -> None:
    options: dict[str, Any] = {"catalog": "insurance", "max_turns": 3, "noise": 0.3}

    async def hold() -> list[Any]:
        env = MessageEnv(17, **options)
        return [await env.initial_observation(), *[await env.step(text) for text in SAID[:3]]]

    opening, *steps = asyncio.run(hold())
    env = gymnasium.make("convgym/Sales-v0", **options)
    _, info = env.reset(options={"episode_seed": 17})
    assert opening == [
        {"role": "system", "content": seller_prompt("insurance")},
        *info["messages"],
    ]
    for text, step in zip(SAID, steps, strict=False):
        _, reward, terminated, truncated, info = env.step(text)
        assert step.next_messages[1:] == info["messages"]
        assert (step.reward, step.episode_done) == (reward, terminated or truncated)
    assert steps[-1].metrics == {"purchase": 0, "walk_away": 0, "turn_limit": 1, "turns": 3}
    assert steps[-1].logs["outcome"] == "turn_limit" and steps[-1].logs["episode_seed"] == 17


def test_a_sale_and_a_prompt_of_ones_own(puppet: Callable[[], Customer]) -> None:
    async def hold() -> Any:
        env = MessageEnv(3, customer=puppet, prompt="You know: {briefing}")
        assert (await env.initial_observation())[0]["content"] == "You know: We sell strings."
        step = await env.step({"role": "assistant", "content": "buy"})
        with pytest.raises(ResetNeeded, match="initial_observation"):
            await env.step("more")
        env.close()
        assert env.dialogue.customer.closed == 1  # type: ignore[attr-defined]
        return step

    step = asyncio.run(hold())
    assert (step.reward, step.episode_done, step.metrics["purchase"]) == (1.0, True, 1.0)


@pytest.mark.parametrize(("seed", "said"), [(13, []), (3, ["fail"])])
def test_a_failed_customer_is_neither_sale_nor_loss(
    puppet: Callable[[], Customer], seed: int, said: list[str]
) -> None:
    async def hold() -> None:
        env = MessageEnv(seed, customer=puppet)
        await env.initial_observation()
        for text in said:
            await env.step(text)

    with pytest.raises(InfrastructureError, match="connection"):
        asyncio.run(hold())


def test_customers_are_waited_for_together() -> None:
    here = threading.Barrier(8, timeout=10)

    class Slow:
        fingerprint = "slow"
        latent: dict[str, Any] = {}  # noqa: RUF012

        def reset(self, seed: int) -> str:
            here.wait()
            return "Hello."

        def respond(self, utterance: str) -> Reply:
            here.wait()
            return Reply("Well.")

    async def hold(seed: int) -> None:
        env = MessageEnv(seed, customer=Slow, prompt="Sell.")
        await env.initial_observation()
        await env.step("Hi.")

    async def all_together() -> None:
        await asyncio.gather(*map(hold, range(8)))

    before = threading.active_count()
    asyncio.run(all_together())
    for _ in range(100):
        if threading.active_count() <= before:
            break
        time.sleep(0.02)
    assert threading.active_count() <= before  # no thread outlives its conversation


def test_words_of_a_message() -> None:
    parts = [{"type": "thinking", "thinking": "Hm."}, {"type": "text", "text": "Hi"}]
    assert words({"role": "assistant", "content": [*parts, {"type": "text", "text": "."}]}) == "Hi."
    for wrong in ({"role": "user", "content": "Hi."}, {"role": "assistant"}, 7, None):
        with pytest.raises(ConvgymError, match="a seller's message must be"):
            words(wrong)  # type: ignore[arg-type]


def test_mistakes_are_told_before_anybody_is_met() -> None:
    with pytest.raises(ConvgymError, match="unknown environment option"):
        MessageEnv(1, shop="laptops")
    with pytest.raises(ConvgymError, match="seed"):
        MessageEnv(-1)
    with pytest.raises(ConvgymError, match="prompt must be"):
        MessageEnv(1, prompt=" ")


def test_seeds_are_the_products() -> None:
    assert customer_seeds(3, 5) == train_seeds(5, 3)
    assert customer_seeds(3, 5, evaluation=True) == evaluation_seeds(5, 3)
