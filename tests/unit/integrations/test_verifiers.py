"""verifiers holds conversations through our door; the model is a fake endpoint."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium
import pytest

from convgym.customers import CUSTOMERS, Customer, register_customer
from convgym.errors import ConvgymError
from convgym.llm.fake_server import Action, ChatServer
from convgym.seeds import evaluation_seeds, train_seeds
from convgym.sellers.prompt import seller_prompt

vf = pytest.importorskip("verifiers.v1")

from convgym.integrations.verifiers import load_environment  # noqa: E402

EXAMPLE = Path(__file__).parents[3] / "examples/verifiers_environment/src"


@pytest.fixture
def named_puppet(puppet: Callable[[], Customer], restored: Callable[[Any], None]) -> None:
    restored(CUSTOMERS)
    register_customer("puppet", puppet)


requests: list[dict[str, Any]] = []


def episodes(env: Any, said: Callable[[int], str]) -> list[Any]:
    """Hold a conversation with every customer; the seller says ``said`` of the turn."""

    def script(request: dict[str, Any]) -> Action:
        turn = sum(message["role"] == "assistant" for message in request["messages"])
        return Action(text=said(turn))

    async def hold() -> list[Any]:
        with ChatServer(script) as server:
            context = vf.ModelContext(
                model="any",
                client=vf.EvalClientConfig(base_url=server.url),
                sampling=vf.SamplingConfig(),
            )
            async with env.serving():
                held = [await env.run_episode(task, context) for task in env.taskset]
            requests.extend(server.requests)
            return held

    requests.clear()
    return asyncio.run(hold())


def test_tasks_are_customers_of_the_product() -> None:
    tasks = list(load_environment(customers=3, seed=4).taskset)
    assert [task.data.episode_seed for task in tasks] == train_seeds(4, 3)
    assert tasks[0].data.system_prompt == seller_prompt("laptops")
    reserved = load_environment(customers=2, evaluation=True, prompt="Sell.").taskset
    assert [task.data.episode_seed for task in reserved] == evaluation_seeds(0, 2)
    assert next(iter(reserved)).data.system_prompt == "Sell."
    with pytest.raises(ConvgymError, match="unknown environment option"):
        list(load_environment(options={"shop": "laptops"}).taskset)


def test_it_is_the_conversation_of_the_environment() -> None:
    options: dict[str, Any] = {"catalog": "insurance", "max_turns": 2}
    said = ["What is it for?", "What is your budget?"]
    (episode,) = episodes(load_environment(customers=1, options=options), said.__getitem__)
    env = gymnasium.make("convgym/Sales-v0", **options)
    env.reset(options={"episode_seed": train_seeds(0, 1)[0]})
    for text in said:
        *_, info = env.step(text)
    assert requests[-1]["messages"] == [
        {"role": "system", "content": seller_prompt("insurance")},
        *info["messages"][:-2],
    ]
    (trace,) = episode.traces
    assert episode.ok and trace.agent.name == "seller"
    assert (trace.rewards["purchase"].score, trace.metrics["turns"]) == (0.0, 2.0)


@pytest.mark.usefixtures("named_puppet")
def test_a_sale_is_the_reward() -> None:
    env = load_environment(customers=2, options={"customer": "puppet"})
    for episode in episodes(env, ["Hello.", "buy"].__getitem__):
        assert episode.ok
        assert episode.traces[0].rewards["purchase"].score == 1.0


@pytest.mark.usefixtures("named_puppet")
def test_a_failed_customer_is_an_error_of_the_episode() -> None:
    env = load_environment(customers=1, options={"customer": "puppet"})
    (episode,) = episodes(env, lambda _: "fail")
    assert not episode.ok
    assert "connection lost" in str(episode.errors)
    assert "purchase" not in episode.traces[0].rewards


def test_a_package_is_found_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(EXAMPLE)
    monkeypatch.delitem(sys.modules, "convgym_sales", raising=False)
    from verifiers.v1.utils.loaders import environment_class, harness_class, taskset_class

    found = [find("convgym-sales") for find in (environment_class, harness_class, taskset_class)]
    assert [each.__name__ for each in found] == [
        "SalesVerifiersEnv",
        "SalesHarness",
        "SalesTaskset",
    ]
