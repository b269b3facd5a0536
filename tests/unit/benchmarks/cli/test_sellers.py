"""Sellers that are language models on the command line: chat, logs write and bench."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from convgym.agents.training.collector import Collector
from convgym.benchmarks.cli import main
from convgym.benchmarks.runs.folder import read_results
from convgym.llm.fake_server import Action, ChatServer
from convgym.logs import read_log

Run = Callable[..., tuple[int, str, str]]
KEY = "sk-very-secret-0123456789"


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setattr(sys, "path", list(sys.path))

    def call(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as end:
            main.main([part for argument in arguments for part in argument.split()])
        captured = capsys.readouterr()
        code = end.value.code
        return (code if isinstance(code, int) else 0), captured.out, captured.err

    return call


@pytest.fixture
def server() -> Iterator[ChatServer]:
    with ChatServer(lambda request: Action(text="Shall I place the order?")) as server:
        yield server


def options(server: ChatServer, *more: str) -> str:
    given = (f"base_url={server.url}", "retries=0", "first_wait=0.001", *more)
    return " ".join(f"--seller-option {option}" for option in given)


def broken(request: dict[str, object]) -> Action:
    return Action(status=500)


def test_chat_with_options_and_a_prompt_of_ones_own(
    run: Run, tmp_path: Path, server: ChatServer
) -> None:
    (tmp_path / "prompt.txt").write_text("\ufeffBe kind. {briefing}", encoding="utf-8")
    more = options(server, "temperature=0.5", "extra_body.top_k=3")
    prompt = "--seller-prompt prompt.txt --catalog mobile"
    code, out, err = run("chat --seller openai:org/tiny --seed 1", more, prompt)
    assert code == 0, err
    assert "Seller: Shall I place the order?" in out
    request = server.requests[0]
    assert (request["model"], request["temperature"], request["top_k"]) == ("org/tiny", 0.5, 3)
    assert request["messages"][0]["content"].startswith("Be kind. You sell phone plans")


def test_a_chat_that_failed_is_one_line(run: Run, server: ChatServer) -> None:
    server.script = broken
    code, out, err = run("chat --seller openai:tiny", options(server))
    assert (code, out) == (1, "")
    assert err == "convgym: error: the seller failed: openai/tiny: status 500 (status 500)\n"


def test_logs_count_failed_sellers_apart(run: Run, tmp_path: Path, server: ChatServer) -> None:
    asked = iter(range(10**6))
    server.script = lambda request: (
        Action(status=500) if next(asked) in (1, 4) else Action(text="Buy it?")
    )
    command = "logs write log.jsonl --seller openai:tiny --conversations 6"
    code, out, err = run(command, options(server))
    assert code == 0, err
    assert out.endswith(" of them sales, 2 broken off: the seller failed\n")
    assert read_log(tmp_path / "log.jsonl").report.outcomes["seller_failure"] == 2
    assert "2 seller failure" in run("logs validate log.jsonl")[1]


def test_logs_of_failures_alone_exit_with_1(run: Run, server: ChatServer) -> None:
    server.script = broken
    code, _, err = run(
        "logs write log.jsonl --seller openai:tiny --conversations 3", options(server)
    )
    assert code == 1 and err.count("\n") == 1
    assert "the seller failed in all of 3 conversations: openai/tiny: status 500" in err


def test_bench_compares_models_and_counts_their_failures(
    run: Run, tmp_path: Path, server: ChatServer
) -> None:
    def script(request: dict[str, object]) -> Action:
        return Action(status=500) if request["model"] == "down" else Action(text="Buy it?")

    server.script = script
    sellers = (
        "--agents none --sellers silent,openai:tiny,openai:down --set openai:tiny.max_tokens=9"
    )
    command = f"bench smoke {sellers} --output out"
    more = options(server, "record=talks.jsonl")
    code, out, err = run(command, more)
    assert code == 0, err
    assert "seller failed" in out and "ended because the seller's backend failed" in out
    rows = {result.job.name: result for result in read_results(tmp_path / "out")}
    assert list(rows) == ["silent", "openai:tiny", "openai:down"]
    assert (rows["openai:down"].outcomes, rows["openai:down"].valid) == ("f" * 32, False)
    assert rows["openai:tiny"].valid and rows["openai:tiny"].seller_failed == 0
    limits = {request["model"]: request["max_tokens"] for request in server.requests}
    assert limits == {"tiny": 9, "down": 200}
    for path in tmp_path.rglob("*"):
        assert not path.is_file() or KEY not in path.read_text(errors="replace")
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert manifest["run"]["suite"]["overrides"]["openai:tiny"]["max_tokens"] == 9


def test_a_bench_of_failures_alone_exits_with_1(run: Run, server: ChatServer) -> None:
    server.script = broken
    command = "bench smoke --agents none --sellers openai:down --output out"
    code, out, err = run(command, options(server))
    assert code == 1 and "seller failed" in out
    assert err.splitlines()[-1] == (
        "convgym: error: the seller failed in every conversation, and nothing was measured:"
        " openai/down: status 500 (status 500)"
    )


def test_a_bench_of_invalid_rows_alone_exits_with_1(run: Run, server: ChatServer) -> None:
    asked = count()

    def script(request: dict[str, object]) -> Action:
        return Action(status=500) if next(asked) % 9 == 8 else Action(text="Buy it?")

    server.script = script
    command = "bench smoke --agents none --sellers openai:flaky --output out"
    code, out, err = run(command, options(server))
    assert code == 1 and "invalid" in out
    assert err.splitlines()[-1].startswith("convgym: error: every row is invalid: more than 5% of")


BUGGY = """
class Buggy:
    name = "buggy"
    def reset(self, seed): ...
    def act(self, conversations):
        return 1 / 0
"""


@pytest.mark.parametrize(
    "command",
    [
        "chat --seller buggy:Buggy",
        "logs write log.jsonl --seller buggy:Buggy",
        "bench smoke --agents none --sellers buggy:Buggy --output out",
    ],
)
def test_a_bug_of_a_users_seller_is_his_and_no_failure(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    (tmp_path / "buggy.py").write_text(BUGGY)
    monkeypatch.delitem(sys.modules, "buggy", raising=False)
    code, _, err = run(command)
    assert code == 1
    last = err.splitlines()[-1]
    assert "seller 'buggy:Buggy'" in last and "raised ZeroDivisionError: division by zero" in last
    assert "(buggy.py, line 6, in act)" in last


@pytest.mark.parametrize(
    ("command", "told"),
    [
        ("chat --seller openai:x --seller-prompt nowhere.txt", "cannot read the prompt"),
        ("chat --seller openai:x --seller-prompt latin.txt", "no text in UTF-8"),
        ("chat --seller openai:x --seller-option prompt=a --seller-prompt p.txt", "given twice"),
        ("chat --seller openai:", "expected a seller as 'openai:MODEL'"),
        (f"chat --seller openai:x --seller-option api_key={KEY}", "keys come from the environment"),
        ("chat --seller human --seller-option temperature=1", "you take no options"),
        ("chat --seller silent --seller-option temperature=1", "cannot make seller 'silent'"),
        ("chat --seller hf:nowhere", "no model at 'nowhere'"),
        ("chat --seller no/where", "no model at 'no/where'"),
        (
            "bench smoke --agents none --sellers silent --seller-option temperature=1",
            "none is compared: give --sellers openai:MODEL",
        ),
        ("bench smoke --agents none --set openai:x.temperature=1", "nor of a seller"),
    ],
)
def test_mistakes_are_one_line(run: Run, tmp_path: Path, command: str, told: str) -> None:
    (tmp_path / "latin.txt").write_bytes(b"\xe9t\xe9")
    (tmp_path / "p.txt").write_text("Sell.")
    code, out, err = run(command)
    assert (code, out) == (2, "") and told in err and err.count("\n") == 1
    assert KEY not in err


def test_collect_and_evaluate_take_options_and_name_who_failed(
    run: Run, tmp_path: Path, server: ChatServer
) -> None:
    asked = iter(range(10**6))
    server.script = lambda request: (
        Action(status=500) if next(asked) in (1, 4) else Action(text="Buy it?")
    )
    code, out, err = run(
        "collect log.jsonl --seller openai:tiny --conversations 6", options(server, "max_tokens=7")
    )
    assert code == 0, err
    assert out.endswith(" of them sales, 2 broken off: the seller failed\n")
    assert server.requests[0]["max_tokens"] == 7
    asked = iter(range(10**6))
    code, out, err = run("evaluate openai:tiny --customers 6", options(server))
    assert "  2 broken off: the seller failed" in out
    assert code == 1  # it says so, and is no result
    assert err.splitlines()[-1] == (
        "convgym: error: the rate is invalid: 2 of 6 conversations failed, more than 5%"
    )
    server.script = broken
    code, _, err = run("evaluate openai:tiny --customers 3", options(server))
    assert code == 1 and "the seller failed in all of 3 conversations: openai/tiny: " in err
    code, _, err = run("evaluate default --customers 3", options(server))
    assert code == 2 and "'default' is a policy, and no seller with options" in err
    code, _, err = run("collect more.jsonl --policy default", options(server))
    assert code == 2 and "--seller-option and --seller-prompt are of --seller" in err


def test_of_two_who_write_one_log_nobody_loses(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = Collector.logged

    def overtaken(self: Collector, *given: Any, **more: Any) -> Any:
        episodes = held(self, *given, **more)
        (tmp_path / "log.jsonl").write_text("another's\n")
        return episodes

    monkeypatch.setattr(Collector, "logged", overtaken)
    code, out, err = run("collect log.jsonl --seller silent --conversations 3")
    assert code == 0, err
    assert out.startswith("log-2.jsonl: 3 conversations of silent")
    assert (tmp_path / "log.jsonl").read_text() == "another's\n"
    assert len(read_log(tmp_path / "log-2.jsonl").episodes) == 3
    assert (tmp_path / "log-2.jsonl.report.json").exists()
