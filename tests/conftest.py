"""What holds for every test: no network beyond this machine, no display, the same draws."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import settings

from convgym.registry import Registry

# Read when the libraries are imported, hence before any test module is.
os.environ["HF_HUB_OFFLINE"] = "1"
# Tests run side by side, and what they compute is small: more threads would only wait for others.
os.environ["OMP_NUM_THREADS"] = "1"
os.environ["MPLBACKEND"] = "Agg"

settings.register_profile("convgym", deadline=None, derandomize=True)
settings.load_profile("convgym")

LOOPBACK = {"localhost", "127.0.0.1", "::1"}


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Return how many processes run the tests: as many as there are processors, but four at most.

    Every one of them loads torch anew, which a few files are not worth, nor a single processor:
    these are done in the process that was started.
    """
    processors = os.cpu_count() or 1
    files = all(argument.partition("::")[0].endswith(".py") for argument in config.args)
    return 0 if files or processors == 1 else min(processors, 4)


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Refuse connections to other machines; a server of the test's own stays in reach."""
    connect = socket.socket.connect

    def guarded(self: socket.socket, address: Any) -> None:
        if self.family != getattr(socket, "AF_UNIX", None) and address[0] not in LOOPBACK:
            raise AssertionError(f"a test tried to reach {address}")
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", guarded)


@pytest.fixture
def restored(monkeypatch: pytest.MonkeyPatch) -> Callable[[Registry[Any]], None]:
    """Let a registry be as it was once the test is over."""

    def restored(registry: Registry[Any]) -> None:
        monkeypatch.setattr(registry, "_registered", dict(registry._registered))
        monkeypatch.setattr(registry, "_loaded", {})

    return restored
