"""What of a web server visitors reach: the page and its events, and nothing that it does not need.

The library behind the page serves more than this page uses: uploads, files, proxies, an interface
for programs. None of it is reachable here. What comes from a page of somebody else's is refused,
and the browser is told to load nothing from anywhere else and to run nothing but the page itself.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, TypeAlias
from urllib.parse import urlsplit

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
App: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]

MAX_BODY = 64 * 1024
"""Bytes of a request: an event holds at most an utterance."""
LOOPBACK_HOSTS = frozenset({"localhost", "127.0.0.1", "::1"})

_READ = re.compile(
    r"/|/config/?|/theme\.css|/favicon\.ico|/manifest\.json|/(assets|static)/[\w./@+-]+"
    r"|/gradio_api/(queue/data|heartbeat/\w+|info/?|app_id/?|startup-events|theme\.css)"
)
_WRITE = re.compile(r"/gradio_api/(queue/join|reset/?|cancel)")

# The library's page sets styles and scripts within itself, and makes functions of its templates:
# those of this page, in which nothing of a visitor's stands.
_POLICY = (
    "default-src 'none'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self'"
    " 'unsafe-inline'; img-src 'self' data:; font-src 'self' data:; connect-src 'self';"
    " manifest-src 'self'; base-uri 'self'; form-action 'self'; frame-ancestors 'none'"
)
_HEADERS = (
    (b"content-security-policy", _POLICY.encode()),
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
)


class Guard:
    """An ASGI application before another one.

    Args:
        app: what serves the page.
        hosts: names by which the page may be asked for; None for any. A page that only this
            machine reaches is asked for by its names alone, whatever a name server says.
    """

    def __init__(self, app: App, hosts: frozenset[str] | None) -> None:
        self._app, self._hosts = app, hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on what the page needs; refuse the rest with a status and one sentence."""
        if scope["type"] == "lifespan":
            return await self._app(scope, receive, send)
        if scope["type"] != "http":
            return None
        if refusal := self._refusal(scope):
            return await _answer(send, *refusal)
        await self._app(scope, _limited(receive), _marked(send))

    def _refusal(self, scope: Scope) -> tuple[int, str] | None:
        headers = {name.lower(): value.decode("latin-1") for name, value in scope["headers"]}
        host, origin = headers.get(b"host", ""), headers.get(b"origin")
        if self._hosts is not None and (urlsplit(f"//{host}").hostname or "") not in self._hosts:
            return 421, "This page answers to localhost alone."
        if origin is not None and urlsplit(origin).netloc != host:
            return 403, "This page answers to itself alone."
        known = {"GET": _READ, "HEAD": _READ, "POST": _WRITE}.get(scope["method"])
        if known is None or not known.fullmatch(scope["path"]) or ".." in scope["path"]:
            return 404, "There is nothing here."
        if scope["method"] == "POST":
            length = headers.get(b"content-length", "")
            if not length.isdecimal():
                return 411, "The length of what is sent is missing."
            if int(length) > MAX_BODY:
                return 413, f"At most {MAX_BODY} bytes at a time."
        return None


def _limited(receive: Receive) -> Receive:
    """Pass on no more of a body than is allowed, whatever its length was said to be."""
    size = 0

    async def limited() -> Message:
        nonlocal size
        message = await receive()
        size += len(message.get("body", b""))
        return message if size <= MAX_BODY else {"type": "http.disconnect"}

    return limited


def _marked(send: Send) -> Send:
    """Send with the headers that tell browsers what the page may do."""

    async def marked(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message.get("headers", ()), *_HEADERS]
        await send(message)

    return marked


async def _answer(send: Send, status: int, sentence: str) -> None:
    headers = [(b"content-type", b"text/plain; charset=utf-8"), *_HEADERS]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": f"{sentence}\n".encode()})
