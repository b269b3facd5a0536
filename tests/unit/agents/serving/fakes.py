"""A scorer that counts letters, and an application that runs."""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import uvicorn
from starlette.applications import Starlette

from convgym.agents.serving.scores import Pair, Score
from convgym.agents.serving.server import listening
from convgym.conversation import Message, render

WORDS = [{"role": "user", "content": "Hi, I need a laptop."}]


class Counter:
    """Q is the share of the letter e in a response, V that in the state."""

    def __init__(self, delay: float = 0.0) -> None:
        self.delay = delay
        self.batches: list[int] = []
        self.error: Exception | None = None
        self.called = threading.Event()
        self.members = 1

    def read(self, state: Sequence[Message], response: str) -> Pair:
        return Pair(tuple(map(ord, render(state))), tuple(map(ord, response[:50])), response > "z")

    def score(self, pairs: Sequence[Pair]) -> list[Score]:
        self.called.set()
        time.sleep(self.delay)
        self.batches.append(len(pairs))
        if self.error:
            raise self.error
        return [Score(share(pair.response), share(pair.prompt), pair.cut) for pair in pairs]


def share(letters: Sequence[int]) -> float:
    return letters.count(ord("e")) / len(letters) if letters else 0.0


class Client:
    """Asks a server, each time over a connection of its own."""

    def __init__(self, port: int) -> None:
        self.port = port

    def get(self, path: str) -> tuple[int, Any]:
        return self.send("GET", path, None, {})

    def post(self, path: str, body: Any, **headers: str) -> tuple[int, Any]:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        sent = {"Content-Type": "application/json"} | {
            name.replace("_", "-"): value for name, value in headers.items()
        }
        return self.send("POST", path, data, sent)

    def send(
        self, method: str, path: str, body: bytes | None, headers: dict[str, str]
    ) -> tuple[int, Any]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            return response.status, json.loads(response.read())
        finally:
            connection.close()


@contextmanager
def running(app: Starlette) -> Iterator[Client]:
    """Run an application in a thread."""
    with listening() as listener:
        config = uvicorn.Config(
            app, loop="asyncio", http="h11", ws="none", lifespan="on", log_level="critical"
        )
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        port = listener.getsockname()[1]
        thread.start()
        try:
            yield Client(port)
        finally:
            server.should_exit = True
            thread.join()
