"""The server: scores of all forms, one sentence for whatever is wrong, and no 500."""

from __future__ import annotations

import base64
import json
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from convgym.agents.serving.app import ServerSettings, make_app
from convgym.errors import ConvgymError
from tests.unit.agents.serving.fakes import WORDS, Client, Counter, running, share

TRANSCRIPT = "Customer: Hi, I need a laptop.\nSeller:"
VALUE = share(tuple(map(ord, "Customer: Hi, I need a laptop.")))
LIMIT = 20_000


@pytest.fixture(scope="module")
def scorer() -> Counter:
    return Counter()


@pytest.fixture(scope="module")
def client(scorer: Counter) -> Iterator[Client]:
    options = ServerSettings(batch_size=8, max_wait_ms=1, max_body_mb=LIMIT / 2**20)
    with running(make_app(scorer, options, about={"members": 3})) as client:
        yield client


def test_a_conversation_and_responses_to_it(client: Client) -> None:
    responses = ["eee", "xe", "", "zz"]
    expected = {
        "q": [1.0, 0.5, 0.0, 0.0],
        "value": [VALUE] * 4,
        "advantage": [1.0 - VALUE, 0.5 - VALUE, -VALUE, -VALUE],
        "cut": [False, False, False, True],
    }
    for state in (WORDS, TRANSCRIPT, [{"role": "system", "content": "Sell."}, *WORDS]):
        status, answer = client.post("/score", {"messages": state, "responses": responses})
        assert (status, answer) == (200, {"scores": expected["q"], **expected})
    parts = [{"role": "user", "content": [{"type": "text", "text": WORDS[0]["content"]}]}]
    status, answer = client.post("/score", {"messages": parts, "responses": responses})
    assert (status, answer) == (200, {"scores": expected["q"], **expected})
    body = {"messages": WORDS, "responses": responses}
    assert client.post("/score?score=advantage", body)[1]["scores"] == expected["advantage"]


def test_openrlhf_gets_what_its_own_server_gives(client: Client) -> None:
    body = {"query": [f"{TRANSCRIPT} xe</s>"], "prompts": [TRANSCRIPT], "labels": [None]}
    status, answer = client.post("/get_reward?score=advantage", body)
    assert status == 200
    assert answer["rewards"] == [0.5 - VALUE] and answer["scores"] == [0.5]
    logs = {"q": [0.5], "value": [VALUE], "advantage": [0.5 - VALUE], "cut": [0.0]}
    assert answer["extra_logs"] == logs


def test_many_connections_are_scored_together_and_as_if_alone(
    client: Client, scorer: Counter
) -> None:
    said = ["e" * (n % 7) + "x" * (n % 5 + 1) for n in range(40)]

    def ask(response: str) -> float:
        body = {"messages": WORDS, "responses": [response]}
        return float(client.post("/score", body)[1]["scores"][0])

    scorer.batches.clear()
    scorer.delay = 0.02
    try:
        with ThreadPoolExecutor(20) as threads:
            together = list(threads.map(ask, said))
    finally:
        scorer.delay = 0.0
    assert together == [share(tuple(map(ord, response))) for response in said]
    assert sum(scorer.batches) == 40 and 1 < max(scorer.batches) <= 8


def test_health(client: Client) -> None:
    status, answer = client.get("/health")
    assert status == 200
    assert answer.pop("scored") >= 0 and answer.pop("batches") >= 0
    assert answer == {"status": "ok", "waiting": 0, "score": "q", "members": 3}


GOOD = {"messages": WORDS, "responses": ["Hello"]}
OPENRLHF = {"query": ["ab"], "prompts": ["a"], "labels": [TRANSCRIPT]}


@pytest.mark.parametrize(
    ("path", "body", "status", "message"),
    [
        ("/score", b"{", 400, "the body is no JSON"),
        ("/score", b"\xff", 400, "the body is no JSON"),
        ("/score", b'{"messages": NaN}', 400, "NaN is no number of JSON"),
        ("/score", b"[" * 9_000, 400, "nested too deeply"),
        (
            "/score",
            [],
            422,
            "expected a JSON object with messages, responses, got a list",
        ),
        ("/score", {"messages": WORDS}, 422, "missing: responses"),
        ("/score", {**GOOD, "extra": 1}, 422, "extra: Extra inputs are not permitted"),
        ("/score", {**GOOD, "responses": []}, 422, "responses: List should have at least 1"),
        (
            "/score",
            {**GOOD, "responses": [1]},
            422,
            "should be a valid string, got a number",
        ),
        ("/score", {**GOOD, "messages": "hi"}, 422, "a conversation as text is a transcript"),
        ("/score", {**GOOD, "messages": []}, 422, "must end with the customer's words"),
        (
            "/score",
            {**GOOD, "messages": [{"role": "user", "content": [{"type": "image_url"}]}]},
            422,
            "of the parts of message 1 only those of the type 'text' are read, got 'image_url'",
        ),
        ("/score?score=v", GOOD, 422, "score must be q or advantage, got 'v'"),
        ("/score", b"x" * (LIMIT + 1), 413, f"the body has more than {LIMIT} bytes"),
        ("/score", b"x" * (20 * LIMIT), 413, "serve with a larger --max-body-mb"),
        ("/get_reward", {**OPENRLHF, "labels": []}, 422, "must be equally long, got 1, 1 and 0"),
        ("/get_reward", {**OPENRLHF, "prompts": ["b"]}, 422, "must begin with its prompt"),
        ("/get_reward", {**OPENRLHF, "labels": [""]}, 422, "there is no label, so the prompt must"),
        ("/elsewhere", GOOD, 404, "Not Found"),
        ("/health", GOOD, 405, "POST is not what /health takes: send GET"),
    ],
)
def test_mistakes_are_told_in_one_sentence(
    client: Client, path: str, body: Any, status: int, message: str
) -> None:
    got, answer = client.post(path, body)
    assert got == status and list(answer) == ["error"]
    assert message in answer["error"] and "\n" not in answer["error"]


@pytest.mark.parametrize("manner", ["waits", "sends no more", "is gone"])
def test_a_body_that_does_not_come_is_refused_in_time(
    caplog: pytest.LogCaptureFixture, manner: str
) -> None:
    told: list[str] = []
    app = make_app(Counter(), ServerSettings(body_seconds=0.2), refused=told.append)
    with running(app) as client:
        with socket.create_connection(("127.0.0.1", client.port), timeout=20) as connection:
            connection.sendall(
                b"POST /score HTTP/1.1\r\nHost: here\r\nContent-Type: application/json\r\n"
                b'Content-Length: 999\r\n\r\n{"messages": '
            )
            if manner == "waits":
                answer = b"".join(iter(lambda: connection.recv(4096), b""))  # until it is closed
                assert (
                    answer.startswith(b"HTTP/1.1 400") and b"after 0.2 seconds 13 bytes" in answer
                )
            elif manner == "sends no more":
                connection.shutdown(socket.SHUT_WR)
                while connection.recv(4096):
                    pass
        until = time.monotonic() + 20
        while not told and time.monotonic() < until:
            time.sleep(0.01)
        assert client.post("/score", GOOD)[0] == 200  # others go on
    (reason,) = told
    assert reason.startswith("/score: 400, the body broke off")
    assert "Traceback" not in caplog.text


def test_other_types_of_content_are_refused(client: Client) -> None:
    status, answer = client.post("/score", GOOD, Content_Type="text/plain")
    assert (status, answer["error"][:47]) == (
        415,
        "the content type must be application/json, got ",
    )


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=()), max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4)
    ),
    max_leaves=8,
)
MESSAGES = st.lists(
    st.fixed_dictionaries(
        {"role": st.sampled_from(["user", "assistant", "system", 1]), "content": JSON}
    ),
    max_size=4,
)
STATES = MESSAGES | JSON | st.sampled_from([TRANSCRIPT, "Customer:\nSeller:"])
BODIES = st.one_of(
    JSON,
    st.fixed_dictionaries({"messages": STATES, "responses": st.lists(JSON, max_size=3)}),
    st.fixed_dictionaries(
        {
            "query": st.lists(JSON, max_size=2),
            "prompts": st.lists(JSON, max_size=2),
            "labels": st.lists(STATES, max_size=2),
        }
    ),
)


@settings(max_examples=60)
@given(BODIES, st.sampled_from(["/score", "/get_reward"]))
@example({"messages": WORDS, "responses": ["\ud800 \x00 \U0001f600"]}, "/score")
@example({"query": ["\ud800"], "prompts": [""], "labels": [WORDS]}, "/get_reward")
@example({"messages": 10**400, "responses": ["a"]}, "/score")
def test_any_json_is_answered(client: Client, body: Any, path: str) -> None:
    status, answer = client.post(path, body)
    assert status == 200 or (400 <= status < 500 and isinstance(answer["error"], str)), answer


def test_a_scorer_that_fails_is_said_to_and_goes_on(client: Client, scorer: Counter) -> None:
    scorer.error = RuntimeError("out of memory")
    try:
        assert client.post("/score", GOOD) == (500, {"error": "scoring failed: RuntimeError"})
    finally:
        scorer.error = None
    assert client.post("/score", GOOD)[0] == 200


def test_who_does_not_know_the_token_gets_nothing() -> None:
    basic = base64.b64encode(b"convgym:s3cret").decode()
    with running(make_app(Counter(), ServerSettings(token="s3cret"))) as client:
        assert client.get("/health")[0] == 200
        for header in ("Bearer s3cret", f"Basic {basic}"):
            assert client.post("/score", GOOD, Authorization=header)[0] == 200
        for header in ("", "Bearer", "Bearer other", "s3cret", "Basic s3cret", "Digest s3cret"):
            status, answer = client.post("/score", GOOD, Authorization=header)
            assert status == 401 and "wants its token" in answer["error"]
            assert "s3cret" not in json.dumps(answer)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 0}, "batch_size"),
        ({"max_wait_ms": -1.0}, "max_wait_ms"),
        ({"max_body_mb": 0.0}, "max_body_mb"),
        ({"score": "v"}, "score must be q or advantage"),
        ({"token": " "}, "a token must be ASCII"),
    ],
)
def test_mistakes_in_the_settings(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConvgymError, match=message):
        ServerSettings(**options)
    assert "hidden" not in repr(ServerSettings(token="hidden"))
