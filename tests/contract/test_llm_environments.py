"""What environments owe to Gymnasium also holds with a chat model for a customer."""

from __future__ import annotations

import random
import warnings
from typing import Any

import gymnasium
import pytest
from gymnasium.utils.env_checker import check_env, data_equivalence

import convgym  # noqa: F401  (registers)
from convgym.llm import ChatRequest
from tests.unit.customers.chat_models import FakeModel, paraphrase, shopper

MODELS = {"llm": shopper, "hybrid": paraphrase}
SAID = ("What will you use it for?", "I recommend the Ember.", "Shall I place the order?", "\x00{[")


def options(customer: str) -> dict[str, Any]:
    model = FakeModel(MODELS[customer])
    return {"customer": customer, "customer_options": {"backend": model}}


@pytest.mark.parametrize("customer", MODELS)
@pytest.mark.parametrize("more", [{}, {"reveal_latent": True}])
def test_gymnasiums_checker_is_content(customer: str, more: dict[str, Any]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(gymnasium.make("convgym/Sales-v0", **options(customer), **more).unwrapped)


@pytest.mark.parametrize("customer", MODELS)
def test_equal_seeds_give_equal_conversations_one_by_one_or_together(customer: str) -> None:
    def run(vectorization: str) -> list[Any]:
        envs = gymnasium.make_vec(
            "convgym/Sales-v0", 5, vectorization_mode=vectorization, **options(customer)
        )
        rng = random.Random(3)
        said: list[Any] = [envs.reset(seed=2)]
        for _ in range(10):
            said.append(envs.step(tuple(rng.choice(SAID) for _ in range(5))))
        return said

    first = run("vector_entry_point")
    assert data_equivalence(first, run("vector_entry_point"), exact=True)
    assert data_equivalence(first, run("sync"), exact=True)


def test_the_vector_environment_asks_the_model_once_a_round() -> None:
    asked = options("llm")
    model: FakeModel = asked["customer_options"]["backend"]
    model.answer = lambda request: '{"decision": "continue", "say": "Hm."}'
    envs = gymnasium.make_vec("convgym/Sales-v0", 6, **asked)
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
