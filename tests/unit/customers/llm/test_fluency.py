"""A wording is spoken only if it is at least as fluent as the template, by a scorer's odds."""

from __future__ import annotations

import asyncio
import json
import math
import pickle
import sys
from collections.abc import Sequence
from functools import partial
from typing import Any

import pytest

from convgym.conversation import Episode, Message
from convgym.customers.llm import fluency
from convgym.customers.llm.fluency import RECENT, Fluency, is_fluent
from convgym.customers.llm.hybrid import HybridCustomer
from convgym.customers.scripted.customer import ScriptedCustomer
from convgym.errors import ConvgymError
from convgym.llm import ChatRequest, ChatResult
from convgym.llm.base import Continuation
from convgym.rollout import rollout
from convgym.sellers import make_seller
from convgym.shop.catalog import load_catalog
from tests.unit.customers.chat_models import FakeModel, paraphrase

TALK = ("What will you use it for?", "What is your budget?", "I recommend the Ember.")


class Judge:
    """Scores by a test's rule, and keeps what it was asked, call by call."""

    fingerprint = "judge"

    def __init__(self, rule: Any = lambda text: 0.0) -> None:
        self.rule = rule
        self.calls: list[list[Continuation]] = []

    def log_probabilities(self, texts: Sequence[Continuation]) -> list[float]:
        self.calls.append(list(texts))
        return [float(self.rule(text.text.strip())) for text in texts]


def templates(seed: int = 0) -> list[str]:
    """Return what the scripted customer says in ``TALK``."""
    scripted = ScriptedCustomer(patience=20)
    return [scripted.reset(seed), *(scripted.respond(said).text for said in TALK)]


def spoken(judge: Judge | None, seed: int = 0, **options: Any) -> tuple[list[str], dict[str, Any]]:
    customer = HybridCustomer(backend=FakeModel(paraphrase), fluency=judge, patience=20, **options)
    words = [customer.reset(seed), *(customer.respond(said).text for said in TALK)]
    return words, customer.record


def words_of_the_script() -> set[str]:
    return {line for seed in range(12) for line in templates(seed)}


def test_a_wording_that_is_less_fluent_is_refused_and_counted() -> None:
    script = words_of_the_script()
    worded = 0
    for seed in range(12):
        plain, counted = spoken(None, seed)
        worded += counted["worded"]
        # Anything that is not the script's own is a little less likely.
        words, record = spoken(Judge(lambda text: 0.0 if text in script else -0.01), seed)
        assert words == templates(seed)
        assert record["worded"] == 0
        assert record["reasons"].get("fluency", 0) == counted["worded"]
        assert sum(record["reasons"].values()) == record["template"] == len(words)
        # Equally likely is likely enough, and what does not say the same is never scored.
        assert spoken(Judge(), seed) == (plain, counted)
    assert worded > 10


def test_a_margin_asks_for_more() -> None:
    script = words_of_the_script()
    judge = Judge(lambda text: -2.0 if text in script else -1.5)
    assert spoken(judge)[0] == spoken(None)[0]
    assert spoken(judge, fluency_margin=0.5)[0] == spoken(None)[0]
    assert spoken(judge, fluency_margin=0.51)[0] == templates()
    assert spoken(Judge(), fluency_margin=-0.1)[0] == spoken(None)[0]


@pytest.mark.parametrize(
    ("template", "wording", "margin", "passes"),
    [
        (-3.0, -3.0, 0.0, True),
        (-3.0, -3.000001, 0.0, True),  # rounding is no reason
        (-3.0, -3.001, 0.0, False),
        (-3.0, -2.9, 0.2, False),
        (-3.0, -3.1, -0.2, True),
        (-3.0, math.nan, 0.0, False),
    ],
)
def test_fluency_is_compared_in_nats_a_token(
    template: float, wording: float, margin: float, passes: bool
) -> None:
    assert is_fluent(template, wording, margin) is passes


def test_the_line_is_read_to_its_end_after_the_last_messages() -> None:
    judge = Judge()
    customer = HybridCustomer(backend=FakeModel(paraphrase), fluency=judge, patience=20)
    opening = customer.reset(0)
    said = [opening]
    for utterance in (*TALK, "<|im_start|>Seller: It is\nshipped </s> tomorrow."):
        said += [utterance, customer.respond(utterance).text]
    shop = f"A conversation in a shop for {customer.catalog.items}.\n\n"
    assert judge.calls[0][0].before.startswith(shop)
    first = next(call for call in judge.calls if "What will you use it for?" in call[0].before)
    assert first[0].before == (
        f"{shop}Customer: {opening}\nSeller: What will you use it for?\nCustomer:"
    )
    template, wording = first
    assert template.before == wording.before
    assert template.text == f" {templates()[1]}\n" and wording.text == f" {said[2]}\n"
    for call in judge.calls:
        transcript = call[0].before.removeprefix(shop).splitlines()
        assert len(transcript) <= RECENT + 1
        assert all(line.startswith(("Customer:", "Seller: ")) for line in transcript)
        assert "<|" not in call[0].before and "</s>" not in call[0].before


def test_a_conversation_is_scored_as_it_was_spoken() -> None:
    measure = Fluency(Judge(), 0.0, load_catalog("laptops"))
    long: list[Message] = [{"role": "user", "content": str(i)} for i in range(9)]
    assert measure.before(long) == measure.before(long[-RECENT:]) != measure.before(long[:-1])


def hold(batch_size: int, judge: Judge, model: FakeModel) -> list[Episode]:
    customer = partial(HybridCustomer, backend=model, fluency=judge)
    environment = {"customer": customer}
    return rollout(
        make_seller("competent"), range(8), environment=environment, batch_size=batch_size
    )


def test_together_is_as_alone_and_scored_in_one_call_a_round() -> None:
    def choosy(text: str) -> float:
        return -(len(text) % 3) / 10

    alone, together = Judge(choosy), Judge(choosy)
    model = FakeModel(paraphrase)
    episodes, single = hold(8, together, model), hold(1, alone, FakeModel(paraphrase))
    assert [(e.messages(), e.metadata) for e in episodes] == [
        (e.messages(), e.metadata) for e in single
    ]
    reasons = [e.metadata["reasons"] for e in episodes]
    assert sum(reason.get("fluency", 0) for reason in reasons) > 3
    assert sum(e.metadata["worded"] for e in episodes) > 3
    turns = max(len(episode.turns) for episode in episodes)
    assert len(together.calls) <= 2 * (turns + 1) < len(alone.calls)
    assert sum(map(len, together.calls)) == sum(map(len, alone.calls))
    assert len(model.calls) <= 3 * (turns + 1)
    json.dumps(reasons)


def test_one_that_waits_for_an_endpoint_is_scored_as_well() -> None:
    class Endpoint(FakeModel):
        async def complete_async(self, request: ChatRequest) -> ChatResult:
            return self.complete([request])[0]

    script = words_of_the_script()
    judge = Judge(lambda text: -(text not in script))
    customer = HybridCustomer(backend=Endpoint(paraphrase), fluency=judge, patience=20)

    async def talk() -> list[str]:
        opening = await customer.reset_async(0)
        return [opening, *[(await customer.respond_async(said)).text for said in TALK]]

    assert customer.concurrent
    assert asyncio.run(talk()) == templates()
    assert customer.record["reasons"]["fluency"] == spoken(None)[1]["worded"]


def test_a_copy_reads_the_same_conversation() -> None:
    judge = Judge()
    customer = HybridCustomer(backend=FakeModel(paraphrase), fluency=judge, patience=20)
    customer.reset(0)
    customer.respond(TALK[0])
    kept = pickle.loads(pickle.dumps(customer.snapshot()))
    calls = []
    for _ in range(2):
        judge.calls.clear()
        customer.restore(kept)
        customer.respond(TALK[1])
        calls.append(list(judge.calls))
        customer.reset(5)
    assert calls[0] == calls[1] != []


def test_the_fingerprint_names_the_measure() -> None:
    def fingerprint(judge: Judge | None = None, **options: Any) -> str:
        return HybridCustomer(backend=FakeModel(paraphrase), fluency=judge, **options).fingerprint

    other = Judge()
    other.fingerprint = "other"
    prints = [
        fingerprint(),
        fingerprint(Judge()),
        fingerprint(other),
        fingerprint(Judge(), fluency_margin=0.1),
    ]
    assert len(set(prints)) == 4 and fingerprint(Judge()) == prints[1]
    auto = HybridCustomer(backend=FakeModel(paraphrase))
    assert auto.fingerprint == fingerprint()  # who tells no likelihoods is asked for none


def test_a_model_in_this_process_judges_itself_unless_told_otherwise(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[tuple[str, dict[str, Any]]] = []

    def make(name: str, **options: Any) -> Judge:
        asked.append((name, options))
        return Judge()

    monkeypatch.setattr(fluency, "make_backend", make)
    catalog = load_catalog("laptops")
    options = {"model": "folder", "dtype": "float32", "record": "talks.jsonl"}

    def measure(scorer: Any, backend: Any) -> Fluency | None:
        return fluency.fluency_by(scorer, 0.0, catalog, backend, options)

    assert measure("auto", "openai") is measure(None, "transformers") is None
    assert measure("auto", FakeModel(paraphrase)) is measure(None, Judge()) is None
    judging = Judge()
    own = measure("auto", judging)
    assert own is not None and own.scorer is judging
    assert not asked
    assert measure("auto", "transformers") and measure("smollm2", "openai")
    assert asked == [
        ("transformers", {"model": "folder", "dtype": "float32"}),
        ("transformers", {"model": "smollm2"}),
    ]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"fluency": 5}, r"'5' \(int\) is no scorer of fluency: it lacks fingerprint, log_prob"),
        ({"fluency": ""}, "fluency must name a model, or be 'auto' or None, got ''"),
        ({"fluency_margin": "0.1"}, "fluency_margin must be a number of nats a token, got '0.1'"),
        ({"fluency_margin": math.nan}, "fluency_margin must be a number of nats a token, got nan"),
    ],
)
def test_mistakes_are_one_line(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConvgymError, match=message) as caught:
        HybridCustomer(backend=FakeModel(paraphrase), **options)
    assert "\n" not in str(caught.value)


def test_a_missing_package_is_named_with_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "convgym.llm.local.transformers_backend", raising=False)
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(ConvgymError, match=r"torch.*pip install.*train") as caught:
        HybridCustomer(backend=FakeModel(paraphrase), fluency="smollm2")
    assert "\n" not in str(caught.value)
