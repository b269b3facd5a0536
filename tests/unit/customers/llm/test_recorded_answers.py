"""The present prompt, tried on answers that were recorded with earlier ones, or written by hand.

Recordings are kept by the whole request, so a new prompt finds none of them. But a call's seed
follows from the episode's, the turn and the attempt alone: by it each answer is carried over to the
present prompt here (``recorded_answers.json``: answers by ``turn/attempt``). What was read of it,
and how often it had to be sent back, is what it was when it was recorded.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from convgym.customers import make_customer
from convgym.customers.llm.customer import LLMCustomer
from convgym.customers.llm.examples import example_for, shown
from convgym.customers.llm.exchange import call_seed
from convgym.errors import InfrastructureError
from convgym.llm import ChatAnswer, ChatBackend, ChatRequest, ChatResult
from convgym.llm.recording import RecordingBackend

Conversation = Mapping[str, Any]
FILE = Path(__file__).with_name("recorded_answers.json")
CONVERSATIONS: list[Conversation] = json.loads(FILE.read_text("utf-8"))


class Recorded:
    """Gives the recorded answers of one conversation, each to the call that it was made for."""

    fingerprint = "recorded"

    def __init__(self, conversation: Conversation) -> None:
        self.left = {
            call_seed(f"llm/{conversation['seed']}", *map(int, place.split("/"))): text
            for place, text in conversation["answers"].items()
        }
        self.requests: list[ChatRequest] = []

    def complete(self, requests: Sequence[ChatRequest]) -> list[ChatResult]:
        self.requests += requests
        return [ChatAnswer(self.left.pop(request.seed)) for request in requests]

    def close(self) -> None:
        pass


def hold(customer: LLMCustomer, conversation: Conversation) -> list[list[str]]:
    """Return what is read of every answer: words and decision, or the failure that ends it."""
    read = []
    try:
        read.append([customer.reset(conversation["seed"]), "continue"])
        for said in conversation["seller"]:
            reply = customer.respond(said)
            read.append([reply.text, reply.decision.value])
    except InfrastructureError as error:
        read.append(["", str(error)])
    return read


@pytest.mark.parametrize("conversation", CONVERSATIONS, ids=lambda one: one["by"].split(":")[0])
def test_the_present_prompt_reads_what_was_read(conversation: Conversation, tmp_path: Path) -> None:
    backend = Recorded(conversation)
    path = tmp_path / "carried.jsonl"
    carrying: ChatBackend = RecordingBackend(backend, path)
    customer = LLMCustomer(backend=carrying)
    assert hold(customer, conversation) == conversation["read"]
    record = {name: customer.record[name] for name in ("parsed", "repairs", "failures")}
    assert record == conversation["record"]
    assert not backend.left, "answers that nobody asked for"
    # It is the present prompt, the same for every model, that was asked.
    example = shown(example_for(customer.catalog))
    assert all(example in request.messages[0]["content"] for request in backend.requests)
    # What was carried over is a recording like any other.
    again = make_customer("llm", replay=path)
    assert isinstance(again, LLMCustomer)
    assert hold(again, conversation) == conversation["read"]


def test_the_recorded_answers_are_of_many_kinds() -> None:
    answers = [text for each in CONVERSATIONS for text in each["answers"].values()]
    for mark in ("```", "<think>", "</think>", "Decision", "{'", '{"'):
        assert any(mark in text for text in answers), mark
    assert {words[-1] for each in CONVERSATIONS for words in each["read"]} >= {
        "continue",
        "buy",
        "leave",
    }
    assert sum(each["record"]["repairs"] for each in CONVERSATIONS) > 2
