"""Tinker's cookbook rolls out a scripted model on customers of ours."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import gymnasium
import pytest

from convgym.customers import Customer
from convgym.errors import ConvgymError, InfrastructureError
from convgym.seeds import evaluation_seeds, train_seeds
from convgym.sellers.prompt import seller_prompt

pytest.importorskip("tinker_cookbook.rl.message_env")

from tinker_cookbook.completers import TokenCompleter, TokensWithLogprobs
from tinker_cookbook.renderers import get_renderer
from tinker_cookbook.rl.rollouts import do_group_rollout

from convgym.integrations import tinker
from convgym.integrations.tinker import SalesDatasetBuilder, SalesGroup

pytestmark = pytest.mark.filterwarnings("default")


class Letters:
    """A tokenizer whose tokens are characters."""

    eos_token_id, bos_token, name_or_path = 0, None, "letters"

    def encode(self, text: str, **_: Any) -> list[int]:
        return list(map(ord, text))

    def decode(self, tokens: list[int], **_: Any) -> str:
        return "".join(map(chr, tokens))


class Script(TokenCompleter):  # type: ignore[misc]
    """Says the same in every turn, and remembers what it was shown."""

    def __init__(self, text: str) -> None:
        self.tokens = [*Letters().encode(f" {text}"), 0]
        self.shown: list[str] = []

    async def __call__(self, model_input: Any, stop: Any, **_: Any) -> Any:
        self.shown.append(Letters().decode(model_input.to_ints()))
        return TokensWithLogprobs(self.tokens, [-1.0] * len(self.tokens))


def rolled_out(group: SalesGroup, script: Script) -> Any:
    return asyncio.run(do_group_rollout(group, script))


@pytest.fixture(scope="module")
def renderer() -> Any:
    return get_renderer("role_colon", Letters(), model_name="letters")


def test_a_group_holds_the_conversation_of_the_environment(renderer: Any) -> None:
    options: dict[str, Any] = {"catalog": "insurance", "max_turns": 2}
    seed = train_seeds(0, 1)[0]
    script = Script("What is your budget?")
    group = rolled_out(SalesGroup(seed, renderer, 2, options=options), script)
    env = gymnasium.make("convgym/Sales-v0", **options)
    env.reset(options={"episode_seed": seed})
    *_, info = env.step("What is your budget?")
    said = "".join(
        f"{message['role'].capitalize()}: {message['content']}\n\n" for message in info["messages"]
    )
    assert f"System: {seller_prompt('insurance')}\n\n{said}Assistant:" in script.shown
    assert group.get_total_rewards() == [0.0, 0.0]
    end = group.trajectories_G[0].transitions[-1]
    assert end.episode_done and end.metrics["turn_limit"] == 1.0 and end.metrics["turns"] == 2
    assert end.logs["outcome"] == "turn_limit"


def test_a_sale_is_the_reward_and_a_failed_customer_is_raised(
    renderer: Any, puppet: Callable[[], Customer]
) -> None:
    group = SalesGroup(3, renderer, 2, "You know: {briefing}", {"customer": puppet})
    assert rolled_out(group, Script("buy")).get_total_rewards() == [1.0, 1.0]
    with pytest.raises(InfrastructureError, match="connection lost"):
        rolled_out(group, Script("fail"))


def test_data_are_customers_of_the_product(renderer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tinker, "get_tokenizer", lambda name: Letters())
    settings = {"model_name_for_tokenizer": "letters", "renderer_name": "role_colon"}
    sizes = {"batches": 3, "batch_size": 2, "group_size": 4}
    train, none = asyncio.run(SalesDatasetBuilder(**settings, **sizes, seed=5)())
    assert none is None and len(train) == 3
    seeds = [group.episode_seed for index in range(3) for group in train.get_batch(index)]
    assert seeds == train_seeds(5, 6)
    assert len(asyncio.run(train.get_batch(0)[0].make_envs())) == 4
    _, test = asyncio.run(SalesDatasetBuilder(**settings, **sizes, test_customers=3)())
    assert test is not None and len(test) == 1
    assert [group.episode_seed for group in test.get_batch(0)] == evaluation_seeds(0, 3)
    with pytest.raises(ConvgymError, match="unknown environment option"):
        asyncio.run(SalesDatasetBuilder(**settings, **sizes, options={"shop": "laptops"})())
