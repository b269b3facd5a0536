"""Environments whose customer a chat model speaks for."""

from __future__ import annotations

import gymnasium

import convgym  # noqa: F401  (registers)
from convgym.llm import ChatRequest
from tests.unit.customers.chat_models import FakeModel


def test_the_vector_environment_asks_the_model_once_a_round() -> None:
    model = FakeModel(lambda request: '{"decision": "continue", "say": "Hm."}')
    envs = gymnasium.make_vec(
        "convgym/Sales-v0", 6, customer="llm", customer_options={"backend": model}
    )
    envs.reset(seed=0)
    envs.step(("Hello.",) * 6)
    assert [len(call) for call in model.calls] == [6, 6]


def test_an_unreadable_model_ends_the_episode_as_neither_sale_nor_loss() -> None:
    def mumble(request: ChatRequest) -> str:
        return "Mumble." if len(request.messages) > 2 else '{"decision": "continue", "say": "Hi."}'

    model = FakeModel(mumble)
    env = gymnasium.make("convgym/Sales-v0", customer="llm", customer_options={"backend": model})
    env.reset(seed=0)
    _, reward, terminated, truncated, info = env.step("Hello.")
    assert (reward, terminated, truncated) == (0.0, False, True)
    assert info["outcome"] == "infrastructure_failure"
    assert "no readable answer in 3 attempts" in info["failure"]
