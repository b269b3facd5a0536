"""Whatever an endpoint sends: an answer, a failure of that request, or one error of the user's.

Replies come from a grammar of what servers, relays and proxies were seen to send, put together
anyhow. Never is there another exception, and never a purchase that was only considered.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import cycle
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from convgym.customers.llm.customer import LLMCustomer
from convgym.customers.llm.prompts import SCHEMA
from convgym.errors import ConvgymError, InfrastructureError
from convgym.llm import ChatAnswer, ChatRequest
from convgym.llm.fake_server import Action, ChatServer
from convgym.llm.openai_backend import OpenAIBackend, OpenAIConfig
from convgym.rollout import rollout
from convgym.sellers import make_seller

QUICK: dict[str, Any] = {"first_wait": 0.001, "longest_wait": 0.002, "timeout": 5.0, "retries": 1}
SETTINGS = settings(
    deadline=None, max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture]
)

WORDS = st.sampled_from(
    "temperature seed response_format max_tokens max_completion_tokens system role not supported"
    " content_filter context length exceeded json_validate_failed Extra inputs permitted 'seed'"
    " insufficient_quota flagged unauthorized".split()
)
TEXT = st.one_of(st.lists(WORDS, max_size=6).map(" ".join), st.text(max_size=12))
LEAF = st.one_of(st.none(), st.booleans(), st.integers(-9, 600), st.floats(), TEXT)
ANY = st.recursive(
    LEAF,
    lambda inner: st.one_of(
        st.lists(inner, max_size=2),
        st.dictionaries(st.one_of(WORDS, st.sampled_from(["text", "type", "message"])), inner),
    ),
    max_leaves=5,
)
ERROR = st.one_of(
    TEXT,
    st.fixed_dictionaries({}, optional={"message": ANY, "code": ANY, "param": ANY, "type": ANY}),
    ANY,
)
ERROR_BODY = st.one_of(
    ERROR.map(lambda error: {"error": error}),
    st.lists(
        st.fixed_dictionaries({"loc": st.lists(WORDS, max_size=3), "msg": TEXT}), max_size=2
    ).map(lambda detail: {"detail": detail}),
    ANY,
)
MESSAGE = st.one_of(
    ANY,
    st.fixed_dictionaries(
        {"content": st.one_of(TEXT, ANY)},
        optional={"role": ANY, "refusal": ANY, "reasoning_content": ANY, "reasoning": ANY},
    ),
)
COMPLETION = st.fixed_dictionaries(
    {},
    optional={
        "choices": st.one_of(
            ANY,
            st.fixed_dictionaries(
                {"message": MESSAGE},
                optional={
                    "finish_reason": st.sampled_from(["stop", "length", "content_filter", 3])
                },
            ).map(lambda choice: [choice]),
        ),
        "usage": st.one_of(
            ANY, st.fixed_dictionaries({"prompt_tokens": ANY, "completion_tokens": ANY})
        ),
        "error": ERROR,
    },
)
BODY = st.one_of(
    st.one_of(COMPLETION, ERROR_BODY).map(lambda data: json.dumps(data).encode()),
    st.sampled_from([b"", b"<html>", b"data: {}", b"[" * 5000, b"\xff", b'{"choices": [{"mess']),
    st.binary(max_size=20),
)
HEADERS = st.sampled_from(
    [{}, {"retry-after": "nan"}, {"retry-after": "-1"}, {"retry-after": "Mon, 1 Jan 99999"}]
)
ACTION = st.one_of(
    st.builds(
        Action,
        status=st.sampled_from([200, 200, 200, 204, 304, 400, 401, 403, 404, 413, 422, 429, 500]),
        body=BODY,
        headers=HEADERS,
    ),
    st.builds(Action, fault=st.sampled_from(["drop", "truncate"])),
    st.just(Action(text="Well.")),
)


@pytest.fixture(scope="module")
def server() -> Iterator[ChatServer]:
    with ChatServer(lambda request: Action()) as server:
        yield server


@SETTINGS
@given(st.lists(ACTION, min_size=1, max_size=4), st.booleans())
def test_an_answer_a_failure_or_one_error(
    server: ChatServer, actions: list[Action], schema: bool
) -> None:
    replies = cycle(actions)
    server.script = lambda request: next(replies)
    backend = OpenAIBackend(OpenAIConfig(model="tiny", base_url=server.url, **QUICK))
    messages = ({"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi."})
    requests = [
        ChatRequest(messages, seed, schema=SCHEMA if schema else None)  # type: ignore[arg-type]
        for seed in range(3)
    ]
    try:
        results = backend.complete(requests)
    except ConvgymError as error:
        assert len(str(error).splitlines()) == 1
    else:
        assert len(results) == 3
        for result in results:
            assert isinstance(result, (ChatAnswer, InfrastructureError))
            if isinstance(result, ChatAnswer):
                assert result.text.strip()
            else:
                assert len(str(result).splitlines()) == 1
    finally:
        backend.close()
    assert backend.ledger.spent.prompt_tokens >= 0 <= backend.ledger.spent.completion_tokens


def answer(decision: str) -> str:
    return json.dumps({"thought": "So.", "decision": decision, "say": "Well then."})


BUY = answer("buy")
CONSIDERED = st.sampled_from(
    [
        f"<think>Perhaps {BUY}</think>",
        f"Perhaps {BUY}</think>",
        f"<think>{BUY}</think>\n<think>{BUY}</think>",
        f"<thinking>{'I wonder. ' * 900}{BUY}</thinking>",
        f"[THINK]{BUY}[/THINK]",
        f"<|START_THINKING|>{BUY}<|END_THINKING|>",
        f"<|channel|>analysis<|message|>{BUY}<|end|><|start|>assistant<|channel|>final<|message|>",
        f"analysisPerhaps {BUY}assistantfinal",
        f"{BUY}\n",
        "Decision: buy\n",
        "",
    ]
)
APART = st.fixed_dictionaries(
    {}, optional={name: st.just(BUY) for name in ("reasoning_content", "reasoning", "refusal")}
)
AFTER = st.sampled_from(["", f"\n{BUY}", f"<think>{BUY}", "\nSeller: So?\nDecision: buy", "\n```"])


@SETTINGS
@given(CONSIDERED, st.sampled_from(["leave", "continue", None]), AFTER, APART, st.booleans())
def test_no_purchase_that_was_only_considered(
    server: ChatServer,
    before: str,
    decision: str | None,
    after: str,
    apart: dict[str, str],
    in_parts: bool,
) -> None:
    if decision is None:
        assume(before.strip() not in (BUY, "Decision: buy") and after in ("", "\n```"))
    text = before + (answer(decision) if decision else "") + after
    content = [{"type": "thinking", "thinking": BUY}, {"type": "text", "text": text}]

    def script(request: dict[str, Any]) -> Action:
        if len(request["messages"]) == 2:
            return Action(text=answer("continue"))
        message = {"role": "assistant", "content": content if in_parts else text, **apart}
        return Action(body=json.dumps({"choices": [{"message": message}]}).encode())

    server.script = script
    assert hold(server) != "purchase"


def test_a_purchase_that_was_made(server: ChatServer) -> None:
    server.script = lambda request: Action(
        text=answer("continue" if len(request["messages"]) == 2 else "buy")
    )
    assert hold(server) == "purchase"


def hold(server: ChatServer) -> str:
    """Return how a conversation with a customer at this endpoint ends."""
    backend = OpenAIBackend(OpenAIConfig(model="tiny", base_url=server.url, **QUICK))
    try:
        environment = {"customer": LLMCustomer(backend=backend, repairs=0), "max_turns": 1}
        (episode,) = rollout(make_seller("always-closing"), [0], environment=environment)
    finally:
        backend.close()
    return episode.outcome
