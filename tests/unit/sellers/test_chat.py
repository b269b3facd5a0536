"""Sellers behind an endpoint: what they are asked, what comes of failures, and what is kept."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import openai.resources.chat  # noqa: F401 - takes seconds, which no test is to count
import pytest

from convgym.conversation import Episode, Response
from convgym.customers import Decision, Reply
from convgym.errors import ConvgymError, InfrastructureError
from convgym.llm import ChatRequest
from convgym.llm.fake_server import Action, ChatServer
from convgym.policy import Conversation, Policy
from convgym.rollout import rollout
from convgym.sellers import make_seller
from convgym.sellers.chat import ChatSeller
from convgym.shop.catalog import load_catalog
from tests.unit.customers.chat_models import FakeModel

KEY = "sk-very-secret-0123456789"
QUICK: dict[str, Any] = {"first_wait": 0.001, "longest_wait": 0.01, "timeout": 5.0, "retries": 0}
LOST = 3
"""The customer in whose conversation the endpoint fails, from the second turn on."""


class Visitor:
    """Tells its seed, and buys at the third answer."""

    fingerprint = "visitor"

    def reset(self, seed: int) -> str:
        self.seed, self.turn = seed, 0
        return f"Hello from {seed}."

    def respond(self, utterance: str) -> Reply:
        self.turn += 1
        decision = Decision.BUY if self.turn == 3 else Decision.CONTINUE
        return Reply(f"Turn {self.turn}.", decision)

    @property
    def latent(self) -> dict[str, Any]:
        return {"secret": "hidden-state"}


def talk(request: dict[str, Any]) -> Action:
    """Answer with the number of the turn."""
    return Action(text=f"Answer {len(request['messages']) // 2}.")


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ChatServer]:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with ChatServer(talk) as server:
        yield server


def seller(server: ChatServer, **options: Any) -> Policy:
    return make_seller("openai:tiny", **{**QUICK, "base_url": server.url, **options})


def hold(policy: Policy, seeds: Sequence[int] = range(6), **options: Any) -> list[Episode]:
    environment = {"customer": Visitor, "reveal_latent": True}
    return rollout(policy, seeds, environment=environment, **options)


def outage(action: Action) -> Any:
    """Return a script that does this in one conversation, from its second turn on."""

    def script(request: dict[str, Any]) -> Action:
        opening = request["messages"][1]["content"]
        lost = opening == f"Hello from {LOST}." and len(request["messages"]) > 2
        return action if lost else talk(request)

    return script


def test_all_conversations_of_a_batch_are_asked_together_and_told_of_the_shop() -> None:
    model = FakeModel(lambda request: "What do you need?")
    policy = ChatSeller(model, "bicycles", temperature=0.25, max_tokens=99)
    episodes = hold(policy, range(5))
    assert policy.name == "fake" and all(episode.converted for episode in episodes)
    assert [len(call) for call in model.calls] == [5, 5, 5]
    first, last = model.calls[0][2], model.calls[2][2]
    system, *said = last.messages
    assert system["role"] == "system" and load_catalog("bicycles").briefing() in system["content"]
    assert [message["role"] for message in said] == ["user", "assistant"] * 2 + ["user"]
    assert [message["content"] for message in said][:3] == [
        "Hello from 2.",
        "What do you need?",
        "Turn 1.",
    ]
    assert (first.temperature, first.max_tokens, first.schema) == (0.25, 99, None)
    assert "hidden-state" not in repr(model.requests)


def test_every_turn_has_a_seed_that_the_batch_does_not_change() -> None:
    def asked(**options: Any) -> dict[str, ChatRequest]:
        model = FakeModel(lambda request: "Yes.")
        hold(ChatSeller(model), **options)
        return {repr(request.messages): request for request in model.requests}

    alone, together = asked(batch_size=1), asked()
    assert alone == together
    seeds = {request.seed for request in together.values()}
    assert len(seeds) == len(together) == 18 and all(0 <= seed < 2**31 for seed in seeds)
    assert asked(policy_seed=1) != together


def test_the_prompt_can_be_replaced() -> None:
    model = FakeModel(lambda request: "Yes.")
    for prompt, told in (
        ("Sell {fast}.", "Sell {fast}."),
        ("Now: {briefing}", f"Now: {load_catalog('mobile').briefing()}"),
    ):
        hold(ChatSeller(model, "mobile", prompt=prompt), [1])
        assert model.requests[-1].messages[0]["content"] == told


def test_a_name_makes_the_seller_and_the_environment_its_address(
    server: ChatServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", server.url)
    options: dict[str, Any] = {"temperature": 0.5, "max_tokens": 7, "extra_body": {"top_k": 3}}
    policy = make_seller("openai:tiny", **options)
    episodes = hold(policy, range(4), policy_seed=5)
    assert {episode.policy for episode in episodes} == {"openai:tiny"}
    assert [turn.response.text for turn in episodes[0].turns] == [
        "Answer 1.",
        "Answer 2.",
        "Answer 3.",
    ]
    request = server.requests[0]
    assert (request["model"], request["temperature"], request["max_tokens"]) == ("tiny", 0.5, 7)
    assert request["top_k"] == 3 and isinstance(request["seed"], int)
    assert server.keys[0] == f"Bearer {KEY}" and len(server.requests) == 12


@pytest.mark.parametrize(
    ("action", "reason"),
    [
        (Action(status=500), "status 500"),
        (Action(fault="hang"), "no answer within 0.3 s"),
        (Action(body=b"{]"), "no JSON"),
        (Action(text=""), "empty answer"),
        (Action(text="<think>What would they like?"), "nothing but reasoning"),
        (Action(text="\u200b"), "nothing that a customer could hear"),
        (
            Action(
                body=json.dumps(
                    {"choices": [{"message": {"content": None, "refusal": "I must not sell."}}]}
                ).encode()
            ),
            "the model refused: I must not sell.",
        ),
        (
            Action(
                status=400,
                body=json.dumps({"error": {"code": "content_filter", "message": "no"}}).encode(),
            ),
            "refused",
        ),
    ],
)
def test_a_failure_ends_its_conversation_and_no_other(
    server: ChatServer, action: Action, reason: str
) -> None:
    server.script = outage(action)
    episodes = hold(seller(server, timeout=0.3 if action.fault == "hang" else 5.0))
    lost = episodes.pop(LOST)
    assert (lost.outcome, len(lost.turns), lost.valid, lost.converted) == (
        "seller_failure",
        1,
        False,
        False,
    )
    assert reason in lost.metadata["failure"]
    assert all(episode.converted and len(episode.turns) == 3 for episode in episodes)


def test_retries_come_first(server: ChatServer) -> None:
    failed = iter([True] * 2)
    server.script = lambda request: (
        Action(status=500) if next(failed, False) else Action(text="Yes.")
    )
    (episode,) = hold(seller(server, retries=2), [1])
    assert episode.converted and len(server.requests) == 5


def test_what_nobody_could_get_is_the_users_mistake(server: ChatServer) -> None:
    server.script = lambda request: Action(status=401)
    with pytest.raises(ConvgymError, match="refuses the key in OPENAI_API_KEY") as caught:
        hold(seller(server))
    assert KEY not in str(caught.value)


def test_a_budget_holds_for_sellers(server: ChatServer) -> None:
    with pytest.raises(ConvgymError, match="budget of 4 requests"):
        hold(seller(server, budget={"requests": 4}))
    assert len(server.requests) == 4


def test_a_recording_is_replayed_without_a_network_and_holds_no_key(
    server: ChatServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    path = tmp_path / "talks.jsonl"
    server.script = outage(
        Action(status=500, body=f'{{"error": {{"message": "bad key {KEY}"}}}}'.encode())
    )
    recorded = hold(seller(server, record=path))
    asked = len(server.requests)
    assert (
        recorded[LOST].outcome == "seller_failure" and "***" in recorded[LOST].metadata["failure"]
    )
    monkeypatch.delenv("OPENAI_API_KEY")
    assert hold(make_seller("openai:tiny", replay=path)) == recorded
    assert len(server.requests) == asked
    with pytest.raises(ConvgymError, match="no answer to a request of this run"):
        hold(make_seller("openai:tiny", replay=path, temperature=0.1))
    for text in (path.read_text(), repr(recorded), caplog.text):
        assert KEY not in text


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"temprature": 1}, "unknown option of backend 'openai' 'temprature'"),
        ({"temperature": -1}, "temperature must be a number from 0"),
        ({"max_tokens": 0}, "max_tokens must be an integer of 1 or more"),
        ({"prompt": " "}, "got an empty one"),
        ({"prompt": Path("x")}, "prompt must be the text"),
        ({"catalog": "nope"}, "unknown catalog 'nope'"),
        ({"api_key": KEY}, "unknown option"),
        ({"base_url": f"http://me:{KEY}@host/v1"}, "keys come from the environment"),
        ({"record": "a", "replay": "b"}, "exclude each other"),
    ],
)
def test_mistakes_are_one_line_without_secrets(options: dict[str, Any], told: str) -> None:
    with pytest.raises(ConvgymError, match=told) as caught:
        make_seller("openai:tiny", **options)
    assert "\n" not in str(caught.value) and KEY not in str(caught.value)


class Down(ChatSeller):
    """A policy of somebody's own whose backend is down as a whole."""

    def act(self, conversations: Sequence[Conversation]) -> list[Response]:
        raise InfrastructureError("no connection")


def test_a_policy_may_fail_as_a_whole() -> None:
    episodes = hold(Down(FakeModel(str)), range(2))
    assert {episode.outcome for episode in episodes} == {"seller_failure"}
    assert episodes[0].metadata == {"failure": "no connection"}


def test_a_customer_that_failed_first_counts_as_that() -> None:
    class Mute(Visitor):
        def reset(self, seed: int) -> str:
            raise InfrastructureError("no line")

    (episode,) = rollout(Down(FakeModel(str)), [1], environment={"customer": Mute})
    assert (episode.outcome, episode.metadata["failure"]) == ("infrastructure_failure", "no line")


def test_a_failed_response_says_why_in_words() -> None:
    class Vague(Down):
        def act(self, conversations: Sequence[Conversation]) -> list[Response]:
            return [Response("", failure=True) for _ in conversations]  # type: ignore[arg-type]

    with pytest.raises(ConvgymError, match="must say in words why a response failed, got True"):
        hold(Vague(FakeModel(str)), [1])
