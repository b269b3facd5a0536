"""A page that is served on this machine, where gradio is installed."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from convgym.agents.serving.server import listening, url_of
from convgym.benchmarks.demo.cast import Cast
from convgym.benchmarks.demo.curve import curve_page
from convgym.benchmarks.demo.guard import LOOPBACK_HOSTS
from convgym.benchmarks.demo.house import House
from convgym.benchmarks.talks.advice import Adviser
from convgym.benchmarks.talks.scene import Scene
from convgym.customers import Decision, Reply
from convgym.errors import InfrastructureError
from tests.unit.benchmarks.demo.test_curve import RESULTS
from tests.unit.benchmarks.demo.test_house import ByLength

RELEASE = threading.Event()
"""Slow customers wait for it."""


class Echo:
    """Says what was said; is slow, fails, leaves and raises an error when it is told to."""

    fingerprint = "echo"

    def __init__(self) -> None:
        self.seed = -1

    @property
    def latent(self) -> dict[str, Any]:
        return {"secret_seed": self.seed}

    def reset(self, seed: int) -> str:
        self.seed = seed
        return f"Hello from {seed}."

    def respond(self, utterance: str) -> Reply:
        if utterance == "slow":
            assert RELEASE.wait(60)
        if utterance == "fail":
            raise InfrastructureError("http://do-not-tell is down")
        if utterance == "bug":
            raise KeyError("do-not-tell")
        leaves = utterance == "leave"
        return Reply(f"You said: {utterance}", Decision.LEAVE if leaves else Decision.CONTINUE)


@pytest.fixture(scope="package")
def served() -> Iterator[str]:
    """The address of a page with customers that echo, a Q and a learning curve."""
    pytest.importorskip("gradio", reason="needs the extra demo, which the tests do not install")
    import uvicorn

    from convgym.benchmarks.demo.serving import make_app

    scene = Scene({"customer": Echo})
    house = House(scene, Cast(scene, {}), Adviser(ByLength()))
    curve = curve_page([RESULTS / "standard-iterative"])
    app, end = make_app(house, seed=17, curve=curve, hosts=LOOPBACK_HOSTS)
    with listening() as listener:
        config = uvicorn.Config(app, log_level="error", ws="none", timeout_graceful_shutdown=1)
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            yield url_of(listener)
        finally:
            RELEASE.set()
            end()
            server.should_exit = True
            thread.join()
