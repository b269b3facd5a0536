"""What visitors cannot reach."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from convgym.benchmarks.demo.guard import LOOPBACK_HOSTS, MAX_BODY, Guard


async def _page(scope: Any, receive: Any, send: Any) -> None:
    """Read the whole body, and answer with how long it was."""
    size, more = 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        size, more = size + len(message["body"]), message.get("more_body", False)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"x", b"y")]})
    await send({"type": "http.response.body", "body": str(size).encode()})


def ask(
    method: str = "GET",
    path: str = "/",
    body: bytes = b"",
    hosts: frozenset[str] | None = LOOPBACK_HOSTS,
    **headers: str,
) -> tuple[int, str, dict[str, str]]:
    """Return status, text and headers of an answer; 0 where there was none."""
    sent: list[Any] = []
    given = {"host": "localhost:7860", **headers}
    if method == "POST":
        given.setdefault("content_length", str(len(body)))
    listed = [(name.replace("_", "-").encode(), value.encode()) for name, value in given.items()]

    async def receive() -> Any:
        return {"type": "http.request", "body": body}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": method, "path": path, "headers": listed}
    asyncio.run(Guard(_page, hosts)(scope, receive, send))
    if not sent:
        return 0, "", {}
    start, content = sent
    shown = {name.decode(): value.decode() for name, value in start["headers"]}
    return start["status"], content["body"].decode(), shown


@pytest.mark.parametrize(
    "path",
    ["/", "/theme.css", "/assets/index-a_B.js", "/static/js/x.min.js", "/gradio_api/queue/data",
     "/gradio_api/heartbeat/abc1"],
)  # fmt: skip
def test_the_page_is_served_and_may_load_nothing_from_elsewhere(path: str) -> None:
    status, text, headers = ask(path=path)
    assert (status, text, headers["x"]) == (200, "0", "y")
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy and "frame-ancestors 'none'" in policy
    assert "http" not in policy and "*" not in policy


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/gradio_api/upload"),
        ("GET", "/gradio_api/file=/etc/passwd"),
        ("GET", "/gradio_api/proxy=https://example.com"),
        ("GET", "/gradio_api/openapi.json"),
        ("POST", "/gradio_api/call/say"),
        ("POST", "/gradio_api/run/say"),
        ("GET", "/monitoring"),
        ("GET", "/docs"),
        ("GET", "/assets/../../secret"),
        ("GET", "/static/../x"),
        ("PUT", "/"),
        ("GET", "/gradio_api/queue/join"),
    ],
)
def test_what_the_page_does_not_need_is_not_there(method: str, path: str) -> None:
    assert ask(method, path)[:2] == (404, "There is nothing here.\n")


def test_nobody_else_may_ask_for_it() -> None:
    assert ask(host="evil.example:7860")[0] == 421
    assert ask(host="")[0] == 421
    assert ask(host="[::1]:7860")[0] == 200
    assert ask(host="shop.example", hosts=None)[0] == 200
    assert ask(origin="http://localhost:7860")[0] == 200
    for origin in ("http://evil.example", "http://localhost:1", "null"):
        assert ask("POST", "/gradio_api/queue/join", b"{}", origin=origin)[0] == 403


def test_what_is_sent_is_short() -> None:
    join = "/gradio_api/queue/join"
    assert ask("POST", join, b"x" * MAX_BODY)[:2] == (200, str(MAX_BODY))
    assert ask("POST", join, b"x" * (MAX_BODY + 1))[0] == 413
    assert ask("POST", join, b"x", content_length="")[0] == 411
    assert ask("POST", join, b"x" * (MAX_BODY + 1), content_length="1")[0] == 0


def test_no_sockets_and_the_servers_own_messages_pass() -> None:
    passed: list[Any] = []

    async def inner(scope: Any, receive: Any, send: Any) -> None:
        passed.append(scope["type"])

    async def nothing(*_: Any) -> Any:
        raise AssertionError

    for kind in ("websocket", "lifespan"):
        asyncio.run(Guard(inner, None)({"type": kind}, nothing, nothing))
    assert passed == ["lifespan"]
