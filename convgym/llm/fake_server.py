"""A chat endpoint on this machine that does as it is told: slow, or faulty, but always the same.

    with ChatServer(lambda request: Action(text="Hello.", latency=0.1)) as server:
        backend = make_backend("openai", model="any", base_url=server.url)

It speaks as much of OpenAI's interface and of HTTP as the client needs.
"""

from __future__ import annotations

import asyncio
import json
import math
import random
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from statistics import NormalDist
from types import TracebackType
from typing import Any, Literal, Self, TypeAlias

from convgym.background import BackgroundLoop

Fault: TypeAlias = Literal["none", "hang", "drop", "truncate", "drip"]
"""Answer; say nothing; hang up; hang up in the middle of the answer; a letter now and then."""


@dataclass(frozen=True, kw_only=True)
class Action:
    """What the server does with one request."""

    text: str | None = "Hello."
    role: str = "assistant"
    usage: bool = True
    """Whether tokens are counted: a word is a token."""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None
    """Sent in place of an answer with ``text``."""
    latency: float = 0.0
    """Seconds."""
    fault: Fault = "none"

    def content(self, request: Mapping[str, Any]) -> bytes:
        """Return the body of the answer to a request."""
        if self.body is not None:
            return self.body
        if self.status != 200:
            return json.dumps({"error": {"message": f"status {self.status}"}}).encode()
        answer: dict[str, Any] = {
            "id": "chat-0",
            "object": "chat.completion",
            "created": 0,
            "model": request["model"],
            "choices": [
                {
                    "index": 0,
                    "finish_reason": "stop",
                    "message": {"role": self.role, "content": self.text},
                }
            ],
        }
        if self.usage:
            prompt = sum(len(message["content"].split()) for message in request["messages"])
            completion = len((self.text or "").split())
            answer["usage"] = {
                "prompt_tokens": prompt,
                "completion_tokens": completion,
                "total_tokens": prompt + completion,
            }
        return json.dumps(answer).encode()


Script: TypeAlias = Callable[[dict[str, Any]], Action]
"""From the JSON body of a request to what is done."""


class ChatServer:
    """Serves on loopback, at a free port, for the length of a ``with`` block.

    Attributes:
        script: called in the server's thread; may be replaced at any time.
        requests: the JSON bodies of all requests so far.
        keys: the Authorization header of each.
        most: how many requests were under way at once, at most.
    """

    def __init__(self, script: Script) -> None:
        self.script = script
        self.requests: list[dict[str, Any]] = []
        self.keys: list[str] = []
        self.most = 0
        self._under_way = 0
        self._connections: set[asyncio.StreamWriter] = set()

    @property
    def url(self) -> str:
        """What a client takes as its base URL."""
        return f"http://127.0.0.1:{self._port}/v1"

    def __enter__(self) -> Self:
        self._loop = BackgroundLoop("chat-server")
        self._server = self._loop.submit(asyncio.start_server(self._serve, "127.0.0.1", 0)).result()
        self._port = self._server.sockets[0].getsockname()[1]
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._loop.stop(self._shut())

    async def _shut(self) -> None:
        self._server.close()
        for writer in list(self._connections):
            writer.transport.abort()
        await asyncio.sleep(0)  # so that the aborted connections are told

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._connections.add(writer)
        try:
            while await self._exchange(reader, writer):
                pass
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass  # the client has gone, or the server goes
        finally:
            self._connections.discard(writer)
            writer.close()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Answer one request; return whether the connection goes on."""
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        headers = dict(line.lower().split(": ", 1) for line in head.split("\r\n")[1:] if line)
        body = await reader.readexactly(int(headers["content-length"]))
        key = next((line for line in head.split("\r\n") if line.lower().startswith("auth")), "")
        request = json.loads(body)
        self.requests.append(request)
        self.keys.append(key.partition(": ")[2])
        self._under_way += 1
        self.most = max(self.most, self._under_way)
        try:
            action = self.script(request)
            await asyncio.sleep(action.latency)
            return await self._act(action, action.content(request), reader, writer)
        finally:
            self._under_way -= 1

    async def _act(
        self,
        action: Action,
        content: bytes,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> bool:
        if action.fault == "drop":
            return False
        if action.fault == "hang":
            await reader.read()  # until the client has had enough
            return False
        lines = [
            f"HTTP/1.1 {action.status} So",
            "content-type: application/json",
            f"content-length: {len(content)}",
            *(f"{name}: {value}" for name, value in action.headers.items()),
        ]
        writer.write(("\r\n".join(lines) + "\r\n\r\n").encode())
        if action.fault == "drip":
            for i in range(len(content)):
                writer.write(content[i : i + 1])
                await writer.drain()
                await asyncio.sleep(0.05)
            return True
        writer.write(content[: len(content) // 2] if action.fault == "truncate" else content)
        await writer.drain()
        return action.fault == "none"


def drawn_latency(seed: int, mean: float, p99: float) -> float:
    """Return the seconds that a request of this seed takes: lognormal, of a mean and 99% quantile.

    Raises ValueError unless 0 < mean <= p99 <= 14 times the mean, which is all there can be.
    """
    tail = NormalDist().inv_cdf(0.99)
    sigma = tail - math.sqrt(tail**2 - 2 * math.log(p99 / mean))
    mu = math.log(mean) - sigma**2 / 2
    return random.Random(f"latency/{seed}").lognormvariate(mu, sigma)


def main() -> None:
    """Serve forever in this process; the argument is the latency in seconds.

    With a second one, latencies are drawn: of this mean, and this 99% quantile (``drawn_latency``).
    """
    import sys

    mean, *p99 = map(float, sys.argv[1:])
    words = json.dumps({"thought": "Well.", "decision": "continue", "say": "Tell me more."})

    def script(request: dict[str, Any]) -> Action:
        latency = drawn_latency(request["seed"], mean, p99[0]) if p99 else mean
        return Action(text=words, latency=latency)

    with ChatServer(script) as server:
        print(server.url, flush=True)
        threading.Event().wait()


if __name__ == "__main__":
    main()
