"""A customer that a fitted chat model plays, on models that answer as a test tells them."""

from __future__ import annotations

import json
import pickle
from dataclasses import asdict
from typing import Any

import pytest

from convgym.customers import customer_law, make_customer
from convgym.customers.base import Batched, Concurrent, Decision, Reply, Snapshottable
from convgym.customers.llm.fitted import FittedCustomer
from convgym.customers.shopper.customer import ShopperCustomer
from convgym.errors import ConvgymError, InfrastructureError
from convgym.llm.fake_server import Action, ChatServer
from convgym.rollout import rollout
from convgym.seeds import train_seeds
from convgym.sellers import make_seller
from tests.unit.customers.chat_models import FakeModel, decided_first


def saying(*answers: str) -> FakeModel:
    """Return a model that gives these answers, and the last one for ever."""
    left = list(answers)
    return FakeModel(lambda request: left.pop(0) if len(left) > 1 else left[0])


def test_the_chat_is_who_it_is_and_what_was_said() -> None:
    model = saying("go Hi there.", "go For games.", "buy I take it.")
    customer = FittedCustomer(backend=model)
    assert customer.reset(3, {"patience": 6.2, "need": "gaming"}) == "Hi there."
    assert customer.respond("What is it for?") == Reply("For games.")
    assert customer.respond("Want it? <|im_end|>") == Reply("I take it.", Decision.BUY)
    system, *said = model.requests[-1].messages
    assert system["role"] == "system" and "need gaming" in system["content"]
    assert "patience 6.5" in system["content"]
    assert said == [
        {"role": "assistant", "content": "go Hi there."},
        {"role": "user", "content": "7: What is it for?"},
        {"role": "assistant", "content": "go For games."},
        {"role": "user", "content": "6: Want it?"},
    ]
    assert model.requests[0].messages == (system,)
    assert all(request.schema is None for request in model.requests)


def test_the_label_is_read_of_what_is_offered() -> None:
    model = saying("go Hi.")
    customer = FittedCustomer(backend=model)
    customer.reset(3, {"patience": 9.0, "need": "study", "feature": "screen", "budget": 950})
    customer.respond("The Kestrel is a good one.")
    state = customer.snapshot()
    customer.respond("Rather the Nova?")
    customer.restore(state)
    customer.respond("Shall I wrap it up?")
    heard = [each["content"] for each in model.requests[-1].messages if each["role"] == "user"]
    label = ", need yes, feature no, price 1.1"
    assert heard == [f"9{label}: The Kestrel is a good one.", f"8{label}: Shall I wrap it up?"]


def test_it_is_whom_the_shopper_is() -> None:
    customer, original = FittedCustomer(backend=saying("go Hm.")), ShopperCustomer()
    assert customer.briefing == original.briefing
    assert customer_law({"customer": "llm-fitted"}) == "v1"
    for seed in range(4):
        customer.reset(seed)
        original.reset(seed)
        told = json.loads(json.dumps(customer.latent))
        profile = json.loads(json.dumps(asdict(original.profile)))
        assert {name: told[name] for name in profile} == profile
    assert customer.latent["would_buy"] is True
    with pytest.raises(ConvgymError, match="unknown profile field"):
        customer.reset(1, {"shoe": 42})


def test_an_unreadable_answer_is_asked_for_again_with_another_seed() -> None:
    model = saying("go Hi.", "Well.", "Hm.", "go I see.")
    customer = FittedCustomer(backend=model)
    customer.reset(0)
    assert customer.respond("Hello.") == Reply("I see.")
    asked = model.requests[1:]
    assert len({request.seed for request in asked}) == 3
    assert asked[0].messages == asked[2].messages


def test_a_turn_in_which_the_model_fails_leaves_the_customer_as_it_was() -> None:
    model = saying("go Hi.", "Well", "Well", "go I see.")
    customer = FittedCustomer(backend=model, repairs=1)
    customer.reset(0)
    before = customer.snapshot()
    with pytest.raises(InfrastructureError, match="in 2 attempts: it began with 'Well'"):
        customer.respond("Hello.")
    assert customer.snapshot() == before
    assert customer.respond("Hello.") == Reply("I see.")


def test_nobody_buys_by_a_greeting() -> None:
    customer = FittedCustomer(backend=saying("buy Hi."))
    assert customer.reset(0) == "Hi."
    assert customer.talk.chat[-1]["content"] == "go Hi."


def test_a_copy_goes_on_with_its_own_or_fresh_randomness() -> None:
    model = FakeModel(decided_first)
    customer = FittedCustomer(backend=model, repairs=9)
    assert isinstance(customer, Snapshottable) and isinstance(customer, Batched)
    customer.reset(2)
    state = pickle.loads(pickle.dumps(customer.snapshot()))
    seeds = []
    for branch in (None, None, 1):
        customer.restore(state, seed=branch)
        customer.respond("Hello.")
        seeds.append(model.requests[-1].seed)
    assert seeds[0] == seeds[1] != seeds[2]


def test_what_changes_answers_is_in_the_fingerprint() -> None:
    options: tuple[dict[str, Any], ...] = ({}, {"temperature": 0.5}, {"catalog": "mobile"})
    prints = [FittedCustomer(backend=saying("go"), **each).fingerprint for each in options]
    assert len(set(prints)) == 3
    assert prints[0].startswith("llm-fitted-v1:") and "shopper-v1:laptops" in prints[0]
    with pytest.raises(ConvgymError, match="call reset"):
        FittedCustomer(backend=saying("go")).respond("Hi")
    with pytest.raises(ConvgymError, match="repairs"):
        FittedCustomer(backend=saying("go"), repairs=-1)


def test_behind_a_server_it_talks_to_sellers() -> None:
    def script(request: dict[str, Any]) -> Action:
        said = request["messages"][-1]
        if said["role"] == "system":
            return Action(text="go Hi, I want a laptop.")
        bought = request["seed"] % 3 == 0
        return Action(text="buy I take it." if bought else "go Tell me more.")

    with ChatServer(script) as server:
        options = {"base_url": server.url, "model": "merged", "extra_body": {"top_k": 0}}
        episodes = rollout(
            make_seller("competent", law="v1"),
            train_seeds(5, 6),
            environment={"customer": "llm-fitted", "customer_options": options},
        )
        customer = make_customer("llm-fitted", **options)
        assert isinstance(customer, Concurrent) and customer.concurrent
        assert server.requests[0]["top_k"] == 0
        assert "response_format" not in server.requests[0]
    assert all(episode.valid for episode in episodes)
    assert {"purchase", "turn_limit"} >= {episode.outcome for episode in episodes}
    assert any(episode.converted for episode in episodes)
