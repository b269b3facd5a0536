from __future__ import annotations

import os
import socket
from types import SimpleNamespace
from typing import Any

import pytest

from tests.conftest import pytest_xdist_auto_num_workers


def test_other_machines_are_out_of_reach() -> None:
    with socket.socket() as client, pytest.raises(AssertionError, match="tried to reach"):
        client.connect(("192.0.2.1", 80))  # TEST-NET-1: leads nowhere


def test_this_machine_is_in_reach() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket() as client:
        client.connect(server.getsockname())


@pytest.mark.parametrize(
    ("arguments", "processors", "processes"),
    [
        (["tests"], 2, 2),
        (["tests/unit", "tests/test_conftest.py"], 64, 4),
        (["tests"], 1, 0),
        (["tests/a.py", "tests/b.py::test_c[x.y]"], 8, 0),
    ],
)
def test_folders_are_spread_over_processes(
    monkeypatch: pytest.MonkeyPatch, arguments: list[str], processors: int, processes: int
) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: processors)
    config: Any = SimpleNamespace(args=arguments)
    assert pytest_xdist_auto_num_workers(config) == processes
