"""``convgym serve-q``: it answers, stops in good order, and tells mistakes in one line."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from convgym.agents.serving.scoring import QScorer
from convgym.agents.serving.server import listening
from convgym.benchmarks.cli.main import main
from tests.unit.agents.serving.fakes import WORDS, Client, Counter

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    def call(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as end:
            main(["serve-q", *arguments])
        captured = capsys.readouterr()
        return (end.value.code if isinstance(end.value.code, int) else 0), *captured

    return call


@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT])
def test_what_is_under_way_is_answered_before_it_stops(
    run: Run, monkeypatch: pytest.MonkeyPatch, stop: signal.Signals
) -> None:
    with listening() as listener:
        port = listener.getsockname()[1]
    scorer, given = Counter(delay=0.3), dict[str, Any]()
    answers: list[tuple[int, Any]] = []

    def opened(folder: object, policy: object, **options: Any) -> Counter:
        given.update(options, policy=policy)
        return scorer

    def ask() -> None:
        while not answers:
            try:
                answers.append(Client(port).get("/health"))
            except ConnectionError:
                time.sleep(0.05)
        for _ in range(2):
            Client(port).post("/score", [])
        body = {"messages": WORDS, "responses": ["e"]}
        answers.append(Client(port).post("/score", body))

    def end() -> None:
        scorer.called.wait(30)
        os.kill(os.getpid(), stop)

    monkeypatch.setattr(QScorer, "open", opened)
    threads = [threading.Thread(target=ask), threading.Thread(target=end)]
    for thread in threads:
        thread.start()
    options = ("--policy", "start", "--score", "advantage", "--pessimism", "2")
    code, out, err = run("q", "--port", str(port), *options)
    for thread in threads:
        thread.join()
    assert (code, out) == (0, f"http://127.0.0.1:{port}\n")
    reason = "the body: expected a JSON object with messages, responses, got a list"
    assert err == f"refused /score: 422, {reason}\nstopped\n"
    assert given == {"policy": "start", "device": None, "pessimism": 2.0}
    (_, health), (status, answer) = answers
    assert health["score"] == "advantage" and health["members"] == 1
    assert status == 200 and answer["scores"] == answer["advantage"]
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_mistakes_are_one_line(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_TOKEN_HERE", raising=False)
    with listening() as listener:
        port = str(listener.getsockname()[1])
        for arguments, message in (
            (("nowhere", "--port", "0"), "no Q at nowhere"),
            (("q", "--token-variable", "NO_TOKEN_HERE"), "NO_TOKEN_HERE is not set"),
            (("q", "--port", port), f"cannot listen at '127.0.0.1', port {port}"),
            (("q", "--host", "192.0.2.1"), "cannot listen at '192.0.2.1'"),
            (("q", "--score", "v"), "score must be q or advantage, got 'v'"),
            (("q", "--max-body-mb", "0"), "max_body_mb"),
        ):
            code, out, err = run(*arguments)
            assert code == 2 and message in err and err.count("\n") == 1 and not out
