"""``convgym demo``: it serves, stops in good order, and tells mistakes in one line."""

from __future__ import annotations

import http.client
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from convgym.agents.serving.server import listening
from convgym.benchmarks.cli.main import main
from convgym.benchmarks.demo import serving

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    def call(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as end:
            main(["demo", *arguments])
        captured = capsys.readouterr()
        return (end.value.code if isinstance(end.value.code, int) else 0), *captured

    return call


def test_without_gradio_it_names_the_extra(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gradio", None)
    code, out, err = run()
    assert code == 2 and not out and err.count("\n") == 1
    assert "convgym demo needs gradio, which is not installed: " in err and "[demo]" in err


def test_mistakes_are_one_line(run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(serving, "load_gradio", lambda: None)
    with listening() as listener:
        port = str(listener.getsockname()[1])
        for arguments, message in (
            (("--customer", "human"), "human is for convgym chat"),
            (("--seller", "human"), "human is for convgym chat"),
            (("--customer", "nobody"), "unknown customer 'nobody'"),
            (("--catalog", "shoes"), "shoes"),
            (("--seller-option", "temperature=1"), "are of --seller: name one"),
            (("--device", "cpu"), "of a --seller that computes here"),
            (("--seller", "mediocre", "--device", "cpu"), "of a --seller that computes here"),
            (("--port", port), f"cannot listen at '127.0.0.1', port {port}"),
            (("--port", "0", "--seller", "nobody"), "unknown seller 'nobody'"),
            (("--port", "0", "--q", "nowhere"), "nowhere"),
            (("--port", "0", "--policy", "default"), "give the folder of Q by --q"),
            (("--port", "0", "--run", str(tmp_path)), "holds no results"),
        ):
            code, out, err = run(*arguments)
            assert code == 2 and message in err and err.count("\n") == 1 and not out, arguments


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
def test_it_stops_though_a_browser_waits_for_news(run: Run, host: str) -> None:
    pytest.importorskip("gradio", reason="needs the extra demo, which the tests do not install")
    with listening() as listener:
        port = listener.getsockname()[1]
    began: list[float] = []

    def visit() -> None:
        while True:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
            try:
                connection.request("GET", "/gradio_api/heartbeat/abc")
                break
            except ConnectionError:
                time.sleep(0.05)
        with closing(connection), connection.getresponse() as answer:
            answer.read(4)
            began.append(time.monotonic())
            os.kill(os.getpid(), signal.SIGTERM)
            answer.read()

    thread = threading.Thread(target=visit, daemon=True)
    thread.start()
    code, out, err = run("--port", str(port), "--host", host)
    thread.join(60)
    assert (code, out) == (0, f"http://{host}:{port}\n")
    assert time.monotonic() - began[0] < 5
    assert err.endswith("stopped\n") and ("anybody who reaches" in err) is (host == "0.0.0.0")
    assert len(err.splitlines()) == 1 + (host == "0.0.0.0")
