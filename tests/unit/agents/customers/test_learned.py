"""The learned customer: who it is, and that it answers for itself alone."""

from __future__ import annotations

import json
import pickle
import random
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from convgym.agents.customers.format import CustomerFormat
from convgym.agents.customers.learned import LearnedCustomer, LearnedShopper
from convgym.agents.customers.voice import Voice, voice
from convgym.agents.model import devices
from convgym.agents.model.generation import ResponseSampler
from convgym.customers import make_customer
from convgym.customers.base import Batched, Decision, Reply, Snapshottable
from convgym.customers.scripted.customer import ScriptedCustomer
from convgym.errors import ConvgymError
from convgym.rollout import rollout
from convgym.seeds import train_seeds
from convgym.sellers import make_seller

SAID = ("What is your budget?", "I recommend the Nova for $850.", "Shall I place the order?", "")


@pytest.fixture
def customer(fitted: Path) -> LearnedCustomer:
    return LearnedCustomer(model=fitted)


def talk(customer: LearnedCustomer, seed: int, turns: int = 3) -> list[Any]:
    words = random.Random(seed)
    opening = customer.reset(seed)
    return [opening, *(customer.respond(words.choice(SAID)) for _ in range(turns))]


def test_it_is_whom_the_original_is(customer: LearnedCustomer) -> None:
    original = ScriptedCustomer()
    for seed in range(5):
        original.reset(seed)
        customer.reset(seed)
        told, asked = customer.latent, original.latent
        for name in ("persona", "need", "feature", "budget", "objections", "patience", "trust"):
            assert told[name] == asked[name]
    customer.reset(1, {"need": "gaming", "budget": 900})
    assert (customer.latent["need"], customer.latent["budget"]) == ("gaming", 900)
    with pytest.raises(ConvgymError, match="unknown profile field"):
        customer.reset(1, {"shoe": 42})
    assert customer.briefing == original.briefing


def test_replies_do_not_depend_on_who_else_is_asked(fitted: Path) -> None:
    assert isinstance(LearnedCustomer(model=fitted), Batched)
    alone = [talk(LearnedCustomer(model=fitted), seed) for seed in range(6)]
    for order in (range(6), [4, 1, 5, 0, 3, 2]):
        customers = {seed: LearnedCustomer(model=fitted) for seed in order}
        words = {seed: random.Random(seed) for seed in order}
        openings = LearnedCustomer.reset_together(list(customers.values()), list(order))
        heard: dict[int, list[Any]] = {
            seed: [opening] for seed, opening in zip(order, openings, strict=True)
        }
        for _ in range(3):
            said = [words[seed].choice(SAID) for seed in order]
            replies = LearnedCustomer.respond_together(list(customers.values()), said)
            for seed, reply in zip(order, replies, strict=True):
                heard[seed].append(reply)
        assert [heard[seed] for seed in range(6)] == alone


def test_those_of_different_temperatures_answer_together(fitted: Path) -> None:
    warm, cold = (LearnedCustomer(model=fitted, temperature=t) for t in (1.0, 0.01))
    assert warm.fingerprint != cold.fingerprint
    together = LearnedCustomer.reset_together([warm, cold], [3, 3])
    again = [LearnedCustomer(model=fitted, temperature=t).reset(3) for t in (1.0, 0.01)]
    assert together == again


def test_a_copy_goes_on_as_it_did(customer: LearnedCustomer, fitted: Path) -> None:
    assert isinstance(customer, Snapshottable)
    talk(customer, 4, turns=1)
    state = pickle.loads(pickle.dumps(customer.snapshot()))
    went_on = [customer.respond(SAID[0]), customer.respond(SAID[2]), customer.latent]
    other = pickle.loads(pickle.dumps(LearnedCustomer(model=fitted)))
    for copy in (customer, other):
        copy.restore(state)
        assert [copy.respond(SAID[0]), copy.respond(SAID[2]), copy.latent] == went_on
    branches = []
    for seed in (1, 1, 2):
        other.restore(state, seed=seed)
        branches.append(other.respond(SAID[0]))
    assert branches[0] == branches[1] != branches[2]


def test_the_model_decides(customer: LearnedCustomer, monkeypatch: pytest.MonkeyPatch) -> None:
    format: CustomerFormat = customer._voice.format
    answer = format.answer(Reply("Yes, I will take it.", Decision.BUY))
    monkeypatch.setattr(Voice, "reply", lambda self, prompts, streams: [answer] * len(prompts))
    assert customer.reset(3) == "Yes, I will take it."
    assert customer.respond("Hm?") == Reply("Yes, I will take it.", Decision.BUY)


def test_what_an_observer_notes(customer: LearnedCustomer, monkeypatch: pytest.MonkeyPatch) -> None:
    said = iter(["Hi.", "Around $900.", "What if it breaks after a month?", "Okay."])
    format = customer._voice.format
    monkeypatch.setattr(
        Voice, "reply", lambda self, prompts, streams: [format.answer(Reply(next(said)))]
    )
    assert customer.latent == {}
    customer.reset(3, {"objections": ("warranty", "price"), "patience": 6.5})
    customer.respond("What is your budget?")
    assert customer.latent["disclosed"] == ["budget"]
    assert customer.latent["product"] is None
    customer.respond("I recommend the Nova.")
    latent = customer.latent
    assert json.loads(json.dumps(latent))["product"] == "Nova"
    assert latent["raised_objections"] == ["warranty"]
    assert latent["unspoken_objections"] == ["price"]
    assert (latent["turn"], latent["patience_left"], latent["would_buy"]) == (2, 4.5, True)
    customer.respond("It comes with a two year warranty.")
    assert customer.latent["raised_objections"] == []


def test_an_objection_may_be_answered_before_it_is_spoken(
    customer: LearnedCustomer, monkeypatch: pytest.MonkeyPatch
) -> None:
    format = customer._voice.format
    monkeypatch.setattr(
        Voice, "reply", lambda self, prompts, streams: [format.answer(Reply("Okay."))]
    )
    customer.reset(3, {"objections": ("warranty", "price"), "patience": 6.5})
    customer.respond("It comes with a two year warranty.")  # of what?
    assert customer.latent["unspoken_objections"] == ["warranty", "price"]
    customer.respond("I recommend the Nova. I can give you a discount on it.")
    assert customer.latent["unspoken_objections"] == ["warranty"]
    assert customer.latent["raised_objections"] == []


def test_a_talk_may_outgrow_the_context(customer: LearnedCustomer) -> None:
    customer.reset(5)
    for number in range(14):
        customer.respond(f"{number} " + "The Nova is nice. " * 60)
    assert customer.latent["turn"] == 14
    prompt = customer._voice.prompt(customer.talk.who, customer.talk.turns, (1, 2, 3))
    assert prompt.ids[: len(customer.talk.who)] == customer.talk.who
    assert len(prompt.ids) < 1024


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"catalog": "insurance"}, "knows the shop 'laptops' by heart, and not 'insurance'"),
        ({"personas": "difficult"}, "knows no persona 'rambler'"),
        ({"persona": "grumpy"}, "unknown persona"),
        ({"patience": -1}, "patience"),
        ({"temperature": 0}, "temperature"),
        ({"device": "abacus"}, "abacus"),
    ],
)
def test_what_it_was_not_fitted_to_is_refused(
    fitted: Path, options: dict[str, Any], told: str
) -> None:
    with pytest.raises(ConvgymError, match=told):
        make_customer("learned", model=fitted, **options)


def test_a_model_of_another_law_or_none_is_refused(fitted: Path, tmp_path: Path) -> None:
    with pytest.raises(ConvgymError, match="imitates 'scripted': use LearnedCustomer for it"):
        LearnedShopper(model=fitted)
    with pytest.raises(ConvgymError, match="no learned customer at"):
        LearnedCustomer(model=tmp_path)
    assert LearnedShopper.law == "v1"


def test_before_the_first_reset_nobody_is_there(customer: LearnedCustomer) -> None:
    with pytest.raises(ConvgymError, match="call reset"):
        customer.respond("Hi")


def test_sellers_of_all_kinds_can_talk_to_it(fitted: Path) -> None:
    environment = {
        "customer": "learned",
        "customer_options": {"model": str(fitted)},
        "reveal_latent": True,
    }
    for name in ("silent", "oracle"):
        episodes = rollout(make_seller(name), train_seeds(5, 4), environment=environment)
        assert all(episode.valid for episode in episodes)
        assert episodes[0].customer.startswith("learned-v1:")
    assert voice(str(fitted)) is voice(str(fitted))


def test_who_comes_in_makes_nobody_be_read_again(
    fitted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts: list[int] = []
    plain = ResponseSampler._read

    def counting(self: ResponseSampler, cache: Any, blocks: Any, known: Any) -> Any:
        counts.append(sum(map(len, blocks)))
        return plain(self, cache, blocks, known)

    monkeypatch.setattr(ResponseSampler, "_read", counting)

    def read(batch_size: int) -> tuple[int, list[Any]]:
        counts.clear()
        voice.cache_clear()
        environment = {"customer": partial(LearnedCustomer, model=fitted)}
        episodes = rollout(
            make_seller("competent"), range(24), environment=environment, batch_size=batch_size
        )
        return sum(counts), [episode.messages() for episode in episodes]

    at_once, held = read(24)
    few, same = read(6)  # as one leaves, the next comes in
    assert same == held
    assert few < 1.2 * at_once


def test_how_exactly_it_computes_is_an_option_and_told(fitted: Path) -> None:
    exact, rough = LearnedCustomer(model=fitted), LearnedCustomer(model=fitted, dtype="bfloat16")
    assert voice(str(fitted)).network.dtype is torch.float32
    assert voice(str(fitted), dtype="bfloat16").network.dtype is torch.bfloat16
    assert exact.fingerprint != rough.fingerprint
    assert talk(rough, 3) == talk(LearnedCustomer(model=fitted, dtype="bfloat16"), 3)
    with pytest.raises(ConvgymError, match="dtype must be one of auto, float32, bfloat16"):
        LearnedCustomer(model=fitted, dtype="half")  # type: ignore[arg-type]


def test_memory_says_how_many_are_met_at_once(
    fitted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert LearnedCustomer(model=fitted).batch_size == 256
    monkeypatch.setattr(devices, "_CACHES", 2**21)
    voice.cache_clear()
    small = LearnedCustomer(model=fitted).batch_size
    assert 1 <= small < 256
    assert LearnedCustomer(model=fitted, dtype="bfloat16").batch_size >= 2 * small
    voice.cache_clear()
