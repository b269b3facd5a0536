"""What every customer in the registry owes, whoever speaks for it."""

from __future__ import annotations

import json
import random
import warnings
from collections.abc import Callable
from typing import Any

import gymnasium
import pytest
from gymnasium.utils.env_checker import check_env, data_equivalence

import convgym  # noqa: F401  (registers)
from convgym.customers import CUSTOMERS, Customer, Decision, Reply, Snapshottable, make_customer
from convgym.errors import InfrastructureError
from convgym.rollout import rollout
from convgym.sellers import make_seller
from tests.unit.agents.learned import tiny_adapter, tiny_learned_customer
from tests.unit.customers.chat_models import FakeModel, decided_first, paraphrase, shopper

NEEDED: dict[str, Callable[[], dict[str, Any]]] = {
    "llm": lambda: {"backend": FakeModel(shopper)},
    "hybrid": lambda: {"backend": FakeModel(paraphrase)},
    "learned": lambda: {"model": tiny_learned_customer()},
    "llm-fitted": lambda: {"backend": FakeModel(decided_first)},
    "replay": lambda: {"log": rollout(make_seller("mediocre"), [3]), "index": 0},
    "smollm2-customer": lambda: {"model": tiny_adapter()},
}
"""Options without which a customer cannot be made."""
AT_THE_TERMINAL = {"human"}
SAID = (
    "What will you use it for?",
    "I recommend the Ember.",
    "Shall I place the order?",
    "buy " * 2000,
    "",
    "\x00{[",
)

names = pytest.mark.parametrize("name", sorted(CUSTOMERS.shipped.keys() - AT_THE_TERMINAL))


def options(name: str) -> dict[str, Any]:
    return NEEDED[name]() if name in NEEDED else {}


def make(name: str) -> Customer:
    return make_customer(name, **options(name))


def conversation(customer: Customer, seed: int, words: random.Random, turns: int = 8) -> list[Any]:
    """Return what the customer says and decides, and its hidden state, to ``words``."""
    return [customer.reset(seed), *answers(customer, words, turns)]


def answers(customer: Customer, words: random.Random, turns: int = 8) -> list[Any]:
    heard: list[Any] = []
    for _ in range(turns):
        try:
            reply = customer.respond(words.choice(SAID))
        except InfrastructureError as error:
            return [*heard, str(error)]
        assert isinstance(reply, Reply)
        heard += [reply, json.dumps(customer.latent, sort_keys=True)]
        if reply.decision is not Decision.CONTINUE:
            break
    return heard


@names
def test_a_conversation_follows_from_seed_and_words(name: str) -> None:
    first, second = make(name), make(name)
    assert first.fingerprint == second.fingerprint
    once = [conversation(first, seed, random.Random(seed)) for seed in range(12)]
    again = [conversation(second, seed, random.Random(seed)) for seed in reversed(range(12))]
    assert once == again[::-1]
    assert first.fingerprint == second.fingerprint


@names
def test_a_restored_customer_goes_on_as_it_did(name: str) -> None:
    customer = make(name)
    if not isinstance(customer, Snapshottable):
        pytest.skip("cannot be copied")
    for seed in range(6):
        customer.reset(seed)
        answers(customer, random.Random(seed), turns=1)
        state = customer.snapshot()
        went_on = answers(customer, random.Random(seed))
        customer.restore(state)
        assert answers(customer, random.Random(seed)) == went_on


@names
@pytest.mark.parametrize("more", [{}, {"reveal_latent": True}])
def test_gymnasiums_checker_is_content(name: str, more: dict[str, Any]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        env = gymnasium.make(
            "convgym/Sales-v0", customer=name, customer_options=options(name), **more
        )
        check_env(env.unwrapped)


@names
def test_one_by_one_or_together_is_the_same(name: str) -> None:
    def run(vectorization: str) -> list[Any]:
        envs = gymnasium.make_vec(
            "convgym/Sales-v0",
            5,
            vectorization_mode=vectorization,
            customer=name,
            customer_options=options(name),
        )
        words = random.Random(3)
        said: list[Any] = [envs.reset(seed=2)]
        for _ in range(10):
            said.append(envs.step(tuple(words.choice(SAID) for _ in range(5))))
        return said

    first = run("vector_entry_point")
    assert data_equivalence(first, run("vector_entry_point"), exact=True)
    assert data_equivalence(first, run("sync"), exact=True)
