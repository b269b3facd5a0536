"""The command line: one line and exit code 2 for every mistake, 130 for an interruption."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import IO, Any

import pytest

import convgym
from convgym.benchmarks.cli import main
from convgym.benchmarks.report.write import write_report
from convgym.benchmarks.runs import runner, suites
from convgym.benchmarks.runs.folder import read_manifest, read_results
from convgym.benchmarks.runs.parts import PackageParts
from convgym.benchmarks.runs.suites import START, Suite, select
from convgym.customers.scripted.customer import ScriptedCustomer
from convgym.errors import InfrastructureError
from convgym.installing import install_command
from convgym.registry import Registry
from tests.unit.benchmarks.conftest import SKILL, World

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    suite: Suite,
    world: World,
    restored: Callable[[Registry[Any]], None],
) -> Run:
    """Call the command line in an empty folder, where "tiny" is a suite made of stand-ins."""
    monkeypatch.chdir(tmp_path)
    restored(suites.SUITES)
    suites.SUITES.register("tiny", suite)
    monkeypatch.setattr(runner, "default_parts", lambda: world)

    def call(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as end:
            main.main(arguments)
        captured = capsys.readouterr()
        code = end.value.code
        return (code if isinstance(code, int) else 0), captured.out, captured.err

    return call


def dict_customer(patience: float, **_: str) -> ScriptedCustomer:
    return ScriptedCustomer(patience=patience)


def is_one_line(err: str) -> bool:
    return err.startswith("convgym: error: ") and err.count("\n") == 1


def test_bench_shows_a_table_and_leaves_a_results_folder(run: Run, tmp_path: Path) -> None:
    code, out, err = run("bench", "tiny", "--seed", "3")
    assert code == 0
    assert "online-ppo (2 seeds)" in out and "same 50 customers" in out
    assert "[7/7] online-ppo-seed7" in err
    folder = tmp_path / "results" / "tiny-seed3"
    assert {path.name for path in folder.iterdir() if not path.name.startswith(".")} >= {
        "manifest.json",
        "results.jsonl",
        "curves.jsonl",
        "training.jsonl",
        "report.html",
    }
    assert len(read_results(folder)) == 7


def test_bench_takes_other_agents_sellers_and_environment(run: Run, tmp_path: Path) -> None:
    options = ["--agents", "bc, bc", "--sellers", "none", "--catalog", "mobile", "--output", "out"]
    code, _, _ = run("bench", "tiny", *options)
    assert code == 0
    assert [row.job.label for row in read_results(tmp_path / "out")] == [
        "small-seller",
        "bc-seed0",
        "bc-seed1",
    ]
    assert read_manifest(tmp_path / "out")["run"]["suite"]["environment"] == {"catalog": "mobile"}


def test_bench_writes_what_would_run_as_a_file_that_runs(run: Run, tmp_path: Path) -> None:
    options = ["--agents", "bc@*,bc", "--set", "bc.rate=0.2", "--catalog", "mobile"]
    assert run("bench", "tiny", *options, "--as-file", "mine.toml")[0] == 2  # no bc@... is there
    code, out, err = run("bench", "tiny", *options[2:], "--as-file", "mine.toml")
    assert (code, err) == (0, "") and "convgym bench mine.toml runs it" in out
    assert not (tmp_path / "results").exists()
    mine = suites.get_suite(str(tmp_path / "mine.toml"))
    assert mine.environment == {"catalog": "mobile"} and mine.description == ""
    assert run("bench", "mine.toml", "--agents", "none")[0] == 0
    assert (tmp_path / "results" / "mine-seed0").exists()


def test_what_is_no_part_of_a_file_is_told_with_the_command(run: Run) -> None:
    _, out, _ = run(
        "bench", "tiny", "--seed", "5", "--output", "my out", "--as-file", "my suite.toml"
    )
    assert "convgym bench 'my suite.toml' --seed 5 --output 'my out' runs it" in out
    _, out, _ = run("bench", "tiny", "--as-file=-x.toml")
    assert "convgym bench ./-x.toml runs it" in out


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ("--catalog nope", "nope"),
        ("--personas nope", "nope"),
        ("--evaluate-on nope", "nope"),
        ("--customer-option foo=1", "foo"),
        ("--log nolog.jsonl", "cannot read the log nolog.jsonl"),
        ("--customer hybrid --customer-option model=m --customer-option fluency=null", "fluency"),
    ],
)
def test_nothing_is_written_that_cannot_be_run(
    run: Run, tmp_path: Path, arguments: str, told: str
) -> None:
    code, out, err = run("bench", "tiny", *arguments.split(), "--as-file", "mine.toml")
    assert (code, out) == (2, "") and is_one_line(err) and told in err
    assert not (tmp_path / "mine.toml").exists()


def test_everybody_can_be_judged_on_another_catalogue(run: Run, world: World) -> None:
    options = ["--catalog", "mobile", "--evaluate-on", "bicycles", "--personas", "difficult"]
    code, out, _ = run("bench", "tiny", *options, "--output", "out")
    assert code == 0
    judged = {"catalog": "bicycles", "personas": "difficult"}
    assert [environment for _, _, environment in world.held] == [judged] * 7
    assert "Judged under other conditions than those of training: catalog bicycles" in out


def test_logs_of_a_held_out_catalogue_are_refused(run: Run, tmp_path: Path) -> None:
    code, _, err = run("logs", "write", "log.jsonl", "--catalog", "bicycles")
    assert code == 2 and is_one_line(err) and "reserved for evaluation" in err
    assert not (tmp_path / "log.jsonl").exists()


def test_a_second_bench_shows_what_is_there(run: Run, world: World) -> None:
    _, first, _ = run("bench", "tiny", "--output", "out")
    held = len(world.held)
    code, out, err = run("bench", "tiny", "--output", "out")
    assert (code, out, err) == (0, first, "") and len(world.held) == held


def test_a_bench_of_other_settings_is_refused_with_the_way_out(run: Run) -> None:
    run("bench", "tiny", "--output", "out")
    code, out, err = run("bench", "tiny", "--output", "out", "--seed", "1")
    assert (code, out) == (2, "") and is_one_line(err)
    assert "seed = 0, not 1" in err and "--output" in err and "convgym report out" in err


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ("bench tiny --agents none --sellers none", "nobody to compare"),
        ("bench tiny --catalog bicycles", "reserved for evaluation"),
        ("bench tiny --output file/out", "cannot write to file/out"),
        ("bench tiny --as-file file/x.toml", "cannot write to file/x.toml"),
        ("bench tiny --as-file mine.json", "a suite's file ends in .toml, got mine.json"),
        (
            "logs write log.jsonl --seller-option catalog=mobile",
            "'catalog' is that of its customers",
        ),
        (
            "collect log.jsonl --seller competent --set law=v1",
            "'law' is that of its customers here",
        ),
        ("bench tiny --as-file x.toml --agents onlin-ppo", "did you mean 'online-ppo'"),
        ("bench tiny --output file", "cannot write to file"),
        ("bench ladder --sellers competent --output file/out", "cannot write to file/out"),
        ("logs write file/log.jsonl", "cannot write to file/log.jsonl"),
        ("logs write no/such/log.jsonl", "cannot write to no/such/log.jsonl: No such file"),
        ("logs write file", "file exists and is never overwritten"),
        ("logs write log.csv", "a log is JSON lines, and log.csv looks like another kind of file"),
        ("collect log.parquet --seller silent", "call it log.jsonl"),
        ("chat --seller silent --save chat.CSV", "call it chat.jsonl"),
        ("validate scripted --output file/out", "cannot write to file/out"),
        ("pretrain file/out", "cannot write to file/out"),
        ("pretrain file/out --kind reading", "cannot write to file/out"),
        ("pretrain out --kind reading --catalog mobile", "shops and on customers of its own"),
        ("pretrain out --kind reading --conversations 50", "shops and on customers of its own"),
        ("pretrain out --kind customer --seller oracle", "with sellers of all kinds: drop"),
        ("pretrain out --kind customer --catalog bicycles", "reserved for evaluation"),
        ("pretrain out --kind customer --base nowhere", "no chat model at 'nowhere'"),
        ("pretrain out --base smollm2", "sellers are trained from scratch: drop --base"),
        ("models merge nowhere out", "'nowhere': give the folder of one; `convgym pretrain"),
        ("study speed file/out.json", "cannot write to file/out.json"),
    ],
)
def test_what_cannot_be_is_told_before_the_first_conversation(
    run: Run,
    world: World,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: str,
    told: str,
) -> None:
    def held(*_: object, **__: object) -> None:
        raise AssertionError("a conversation was held")

    monkeypatch.setattr("convgym.rollout._hold", held)
    (tmp_path / "file").write_text("mine")
    code, out, err = run(*arguments.split())
    assert (code, out) == (2, "") and is_one_line(err) and told in err
    assert not world.held and (tmp_path / "file").read_text() == "mine"


def test_a_log_is_there_as_a_whole_or_not_at_all(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cut(file: IO[bytes], path: Path, episodes: object) -> int:
        file.write(b"half a l")
        raise KeyboardInterrupt

    monkeypatch.setattr("convgym.logs._write", cut)
    ended = run("logs", "write", "log.jsonl", "--conversations", "2")
    assert ended == (130, "", "interrupted\n")
    assert not list(tmp_path.iterdir())


def interrupted_study(path: Path) -> None:
    raise KeyboardInterrupt


def test_an_interrupted_study_is_one_line(run: Run) -> None:
    assert run("study", f"{__name__}:interrupted_study", "x") == (130, "", "interrupted\n")


def test_a_customer_who_always_fails_is_no_success(run: Run, world: World) -> None:
    world.failures = dict.fromkeys(SKILL, 50)
    code, out, err = run("bench", "tiny", "--output", "out")
    assert code == 1 and "invalid" in out
    assert err.splitlines()[-1].startswith("convgym: error: the customer failed in every")


def test_nobody_who_sells_is_told_loudly(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in (START, "bc", "online-ppo"):
        monkeypatch.setitem(SKILL, name, 0.0)
    code, out, _ = run("bench", "tiny", "--output", "out")
    assert code == 0 and "NO AGENT SOLD ANYTHING" in out and "others sell to it" in out
    assert "NO AGENT SOLD ANYTHING" in (tmp_path / "out" / "report.html").read_text()
    monkeypatch.setitem(SKILL, "competent", 0.0)
    out = run("bench", "tiny", "--agents", "none", "--output", "sellers")[1]
    assert "NOBODY SOLD ANYTHING" in out


def test_a_policy_folder_one_level_too_high_is_named(run: Run, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    (tmp_path / "run" / "agents" / "bc-seed0" / "policy").mkdir(parents=True)
    (tmp_path / "run" / "agents" / "bc-seed0" / "policy" / "config.json").write_text("{}")
    for folder in ("run/agents/bc-seed0", "run"):
        code, out, err = run("chat", "--seller", folder)
        assert (code, out) == (2, "") and is_one_line(err)
        assert "did you mean" in err and "run/agents/bc-seed0/policy" in err


def test_secrets_reach_neither_manifest_nor_page(
    tmp_path: Path, suite: Suite, world: World
) -> None:
    customer = partial(dict_customer, API_KEY="sk-1", patience=3)
    chosen = select(suite, environment={"customer": customer})
    runner.run_suite(chosen, tmp_path, parts=world)
    write_report(tmp_path)
    texts = [(tmp_path / name).read_text() for name in ("manifest.json", "report.html")]
    assert not any("sk-1" in text for text in texts) and all("patience" in text for text in texts)

    def tell_more(manifest: str) -> str:  # as an earlier version might have
        more = '"auth_token": "sk-1", "base_url": "https://me:sk-1@host/v1?key=sk-1"'
        return manifest.replace('"factory":', f'{more}, "factory":')

    manifest = tmp_path / "manifest.json"
    manifest.write_text(tell_more(manifest.read_text()))
    assert "sk-1" in manifest.read_text()
    assert "sk-1" not in write_report(tmp_path).page.read_text()


def test_an_interrupted_bench_says_how_to_go_on_and_does(
    run: Run, tmp_path: Path, world: World
) -> None:
    def interrupt(name: str, seed: int, step: int) -> None:
        if (name, step) == ("online-ppo", 2):
            raise KeyboardInterrupt

    world.before_step = interrupt
    code, out, err = run("bench", "tiny", "--output", "out")
    assert (code, out) == (130, "")
    assert err.splitlines()[-1] == "interrupted; the same command resumes out"
    world.before_step = lambda name, seed, step: None
    code, out, err = run("bench", "tiny", "--output", "out")
    assert code == 0 and "[6/7] online-ppo-seed0" in err and "bc-seed0" not in err
    assert len(read_results(tmp_path / "out")) == 7


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (
            ["bench", "quik"],
            "unknown suite 'quik'; known: frontier, frontier-cold, frontier-long, ladder",
        ),
        (["bench", "tiny", "--agents", "nope"], "unknown agent 'nope'; known: bc"),
        (["bench", "tiny", "--sellers", "nope"], "unknown seller 'nope'; known: bc"),
        (["logs", "write", "x.jsonl", "--seller", "nope"], "unknown seller 'nope'; known: always"),
        (["logs", "write", "x.jsonl", "--epsilon", "2"], "epsilon"),
        (["logs", "write", "x.jsonl", "--catalog", "nope"], "unknown catalog 'nope'; known: bic"),
        (["logs", "write", "x.jsonl", "--customer", "nope"], "unknown customer 'nope'; known"),
        (["logs", "validate", "nowhere.jsonl"], "nowhere.jsonl"),
        (["report", "nowhere"], "nowhere holds no results"),
        (["chat", "--seller", "nope"], "unknown seller 'nope'; known: always"),
        (["bench", "tiny", "--customer-option", "patience"], "name=value, got 'patience'"),
        (["bench", "tiny", "--customer-option", "pationce=3"], "cannot make customer Scripted"),
    ],
)
def test_mistakes_are_one_line_that_names_them(run: Run, arguments: list[str], told: str) -> None:
    code, out, err = run(*arguments)
    assert (code, out) == (2, "") and is_one_line(err) and told in err


@pytest.mark.parametrize(
    "arguments",
    [["bench", "--seed", "-1"], ["bench", "--seed", "x"], ["nope"], ["bench", "--nope"]],
)
def test_wrong_usage_exits_with_2(run: Run, arguments: list[str]) -> None:
    assert run(*arguments)[0] == 2


def test_a_missing_extra_is_told_with_its_remedy(run: Run, world: World) -> None:
    def broken(name: str) -> None:
        raise ModuleNotFoundError("No module named 'torch.nn'", name="torch.nn")

    world.before_rollout = broken
    code, _, err = run("bench", "tiny")
    first, last = err.splitlines(keepends=True)
    assert first.startswith("tiny: 7 jobs, ")
    assert code == 2 and is_one_line(last)
    assert "needs torch" in err and install_command("train") in err


def test_other_failures_keep_their_traceback_and_are_told(run: Run, world: World) -> None:
    def broken(name: str) -> None:
        raise ZeroDivisionError

    world.before_rollout = broken
    code, _, err = run("bench", "tiny")
    assert code == 1 and "Traceback" in err and "raise ZeroDivisionError" in err
    *_, last = err.strip().splitlines()
    assert last.startswith("convgym: error: seller 'silent', seed 0, raised ZeroDivisionError")
    assert "test_main.py" in last


def test_version(run: Run) -> None:
    assert run("--version") == (0, f"convgym {convgym.__version__}\n", "")


@pytest.mark.parametrize(
    "content", [b"%&/()=", b'{"my": "settings"}', b"[1, 2]\n", b"\x00" * 99, b"\xff\xfe{\x00"]
)
def test_what_is_no_log_is_not_a_valid_empty_one(run: Run, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "notes").write_bytes(content)
    code, out, err = run("logs", "validate", "notes")
    assert code == 2
    assert out.startswith("line 1: ")
    assert is_one_line(err)


def test_logs_are_written_validated_and_never_overwritten(run: Run, tmp_path: Path) -> None:
    arguments = ["logs", "write", "log.jsonl", "--conversations", "30", "--seed", "2"]
    code, out, _ = run(*arguments)
    assert code == 0 and "30 conversations" in out
    assert len((tmp_path / "log.jsonl").read_text().splitlines()) >= 30
    code, out, _ = run("logs", "validate", "log.jsonl")
    assert code == 0 and "30 whole conversations" in out
    with (tmp_path / "log.jsonl").open("rb+") as file:
        file.truncate((tmp_path / "log.jsonl").stat().st_size - 9)
    code, out, _ = run("logs", "validate", "log.jsonl")
    assert code == 0 and "29 whole conversations" in out and "line 30: " in out
    code, _, err = run(*arguments)
    assert code == 2 and "never overwritten" in err


def test_a_malformed_log_is_named(run: Run, tmp_path: Path) -> None:
    (tmp_path / "log.jsonl").write_text('{"a": 1}\n' * 30)
    code, out, err = run("logs", "validate", "log.jsonl")
    assert code == 2 and is_one_line(err) and "log.jsonl, line 1" in err
    assert "line 20: " in out and "line 21: " not in out and "10 more lines" in out


def test_a_scripted_seller_can_be_watched(run: Run) -> None:
    code, out, _ = run("chat", "--seller", "competent", "--seed", "1")
    assert code == 0
    header, talk, hindsight = out.split("\n\n")
    assert header.startswith("seller    competent\ncustomer  scripted, seed 1\n")
    lines = talk.splitlines()
    assert lines[0].startswith("Customer: ") and lines[1].startswith("Seller: ")
    assert lines[-1] in ("(purchase)", "(walk away)", "(turn limit)")
    assert hindsight.startswith("why: the customer")


def test_a_person_can_sell(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []

    def answer(prompt: str) -> str:
        said.append(prompt)
        return "Buy it now!"

    monkeypatch.setattr("builtins.input", answer)
    code, out, _ = run("chat", "--seed", "1")
    assert code == 0 and said
    assert "You sell" in out and "\n(walk away)\n" in out


def test_customers_take_options(run: Run, tmp_path: Path, world: World) -> None:
    patience = ("--customer-option", "patience=1")
    code, out, _ = run("chat", "--seller", "silent", "--seed", "1", *patience)
    assert code == 0 and out.count("Seller: ") == 1 and "\n(walk away)\n" in out
    code, out, _ = run("logs", "write", "log.jsonl", "--conversations", "20", *patience)
    assert code == 0 and "20 conversations" in out and ", 0 of them sales" in out
    code, _, _ = run("bench", "tiny", *patience, "--output", "out")
    assert code == 0
    given = {"customer_options": {"patience": 1}}
    assert read_manifest(tmp_path / "out")["run"]["suite"]["environment"] == given
    assert all(environment == given for _, _, environment in world.held)


def test_a_mistake_in_an_option_leaves_no_folder(run: Run, tmp_path: Path) -> None:
    assert run("bench", "tiny", "--customer-option", "nope=1", "--output", "out")[0] == 2
    assert not (tmp_path / "out").exists()


def test_a_missing_key_and_a_dead_endpoint_are_one_line(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    ask = ["chat", "--seller", "competent", "--customer", "hybrid", "--customer-option", "model=x"]
    code, out, err = run(*ask)
    assert (code, out) == (2, "") and is_one_line(err) and "OPENAI_API_KEY" in err
    with socket.socket() as deaf:  # bound, and not listening
        deaf.bind(("127.0.0.1", 0))
        url = f"base_url=http://127.0.0.1:{deaf.getsockname()[1]}/v1"
        code, out, err = run(*ask, "--customer-option", url, "--customer-option", "retries=0")
    assert (code, out) == (1, "") and is_one_line(err)
    assert "the customer failed: openai/x: no connection" in err


SERVE = """
import signal, sys
from convgym.benchmarks.cli import (main)
from convgym.llm.local import (serve)

signal.signal(signal.SIGINT, signal.default_int_handler)  # else ignored in the background

SERVER = '''
import http.server, os, sys

class Handler(http.server.BaseHTTPRequestHandler):
    log_message = lambda *_: None

    def do_GET(self):
        self.send_response(200)
        self.end_headers()

print("out of memory", flush=True)
open(sys.argv[2], "w").write(str(os.getpid()))
server = http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler)
server.handle_request() if sys.argv[3] == "leaves" else server.serve_forever()
'''


def stand_in(model, *, port, ready_within):
    port = serve._free_port(port)
    command = [sys.executable, "-c", SERVER, str(port), *sys.argv[1:]]
    return serve.Server(command, port, ready_within=ready_within)


serve.llama_server = stand_in
main.main(["serve-customer", "--model", "models/tiny.gguf"])
"""


@contextmanager
def serve_customer(pid_file: Path, manner: str) -> Iterator[subprocess.Popen[str]]:
    """Run the command, and leave nothing behind."""
    command = [sys.executable, "-c", SERVE, str(pid_file), manner]
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as program:
        try:
            yield program
        finally:
            program.kill()  # a failed test would wait for it


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_server_tells_its_url_and_goes_with_its_program(
    tmp_path: Path, number: signal.Signals
) -> None:
    with serve_customer(tmp_path / "pid", "stays") as program:
        assert program.stdout is not None
        url = program.stdout.readline()
        assert url.startswith("http://127.0.0.1:") and url.endswith("/v1\n")
        program.send_signal(number)
        out, err = program.communicate(timeout=20)
    assert (program.returncode, out) == (0, "") and err.endswith("stopped\n")
    assert "--customer-option model=tiny --customer-option base_url=" + url.strip() in err
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


def test_a_server_that_dies_ends_the_command_with_its_last_words(tmp_path: Path) -> None:
    with serve_customer(tmp_path / "pid", "leaves") as program:
        _, err = program.communicate(timeout=20)
    assert program.returncode == 1
    assert err.splitlines()[-1].startswith("convgym: error: the server ended by itself")
    assert err.endswith("out of memory\n")


def test_help_and_version_load_nothing_heavy() -> None:
    script = (
        "import sys\n"
        "from convgym.benchmarks.cli.main import main\n"
        "try: main(['bench', '--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'transformers', 'matplotlib', 'scipy'} & set(sys.modules)\n"
        "sys.exit(str(heavy) if heavy else 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_failed_backend_is_one_line_and_no_mistake_of_the_user(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def down(**_: object) -> None:
        raise InfrastructureError("the customer failed in all of 8 conversations: no route")

    monkeypatch.setattr(main, "make_app", lambda: down)
    with pytest.raises(SystemExit) as ended:
        main.main([])
    assert ended.value.code == 1
    assert capsys.readouterr().err == (
        "convgym: error: the customer failed in all of 8 conversations: no route\n"
    )


def test_a_customer_in_the_present_folder_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "corner_shop.py").write_text(
        "from functools import partial\n"
        "from convgym.customers.scripted.customer import ScriptedCustomer\n"
        "Mine = partial(ScriptedCustomer, catalog='insurance')\n"
    )
    with pytest.raises(SystemExit) as end:
        main.main("chat --customer corner_shop:Mine --seller silent".split())
    assert not end.value.code
    assert "Seller: \n" in capsys.readouterr().out
    monkeypatch.delitem(sys.modules, "corner_shop")


MINE = """
description = "Mine."
sellers = ["competent"]
conversations = 40
evaluation_episodes = 20
[agents.bc]
rate = 0.2
"""


def test_bench_takes_a_file_and_settings_that_come_before_it(run: Run, tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(MINE)
    code, _, err = run("bench", "mine.toml", "--set", "bc.rate=0.5")
    assert code == 0, err
    folder = tmp_path / "results" / "mine-seed0"
    assert [row.job.name for row in read_results(folder)] == ["competent", "small-seller", "bc"]
    stored = read_manifest(folder)["run"]
    assert stored["suite"]["description"] == "Mine."
    assert stored["suite"]["overrides"] == {"bc": {"rate": 0.5}}
    assert stored["agents"]["bc"]["rate"] == 0.5


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["bench", "mine.toml", "--set", "bc"], "a setting as agent.setting=value, got 'bc'"),
        (["bench", "mine.toml", "--set", "ppo.rate=1"], "the agents being bc"),
        (["bench", "nowhere.toml"], "cannot read the suite nowhere.toml"),
        (["bench", "broken.toml"], "broken.toml: evaluation_episodes is missing; unknown field"),
        (["bench", "math:pi"], "suite 'math:pi' must be a Suite"),
        (["list", "agent"], "unknown kind 'agent'; known: agents"),
        (["logs", "write", "x.jsonl", "--seller", "silent", "--epsilon", "0.5"], "'epsilon'"),
        (["chat", "--seller", "mine:Nobody"], "cannot import the seller 'mine:Nobody'"),
        (["study", "speeed"], "unknown study 'speeed'"),
    ],
)
def test_mistakes_in_names_and_settings(
    run: Run, tmp_path: Path, arguments: list[str], told: str
) -> None:
    (tmp_path / "mine.toml").write_text(MINE)
    (tmp_path / "broken.toml").write_text("sells = 3\n")
    code, out, err = run(*arguments)
    assert (code, out) == (2, "") and is_one_line(err) and told in err
    assert not (tmp_path / "results").exists()


OWN = """
from convgym.conversation import Response

class Patient:
    name = "patient"
    def reset(self, seed): ...
    def act(self, conversations):
        return [Response("Take your time.") for _ in conversations]
"""


def test_a_seller_of_the_present_folder(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "patience", raising=False)
    (tmp_path / "patience.py").write_text(OWN)
    code, out, err = run("chat", "--seller", "patience:Patient", "--seed", "1")
    assert code == 0 and "Seller: Take your time." in out, err
    code, out, err = run(
        "logs", "write", "log.jsonl", "--seller", "patience:Patient", "--conversations", "3"
    )
    assert code == 0 and "3 conversations" in out, err
    monkeypatch.setattr(runner, "default_parts", PackageParts)
    arguments = ["--agents", "none", "--sellers", "silent,patience:Patient", "--output", "out"]
    assert run("bench", "smoke", *arguments)[0] == 0
    rows = read_results(tmp_path / "out")
    assert [row.job.name for row in rows] == ["silent", "patience:Patient"]


@pytest.mark.parametrize(("size", "told"), [(48, True), (40, False)])
def test_what_a_suite_does_not_read_of_a_log_is_told_at_once(
    run: Run, size: int, told: bool
) -> None:
    run("logs", "write", "log.jsonl", "--conversations", str(size), "--seller", "silent")
    code, _, err = run("bench", "tiny", "--agents", "bc", "--sellers", "none", "--log", "log.jsonl")
    assert code == 0
    first = err.splitlines()[0]
    note = "note: of the 48 conversations in the log log.jsonl, only the first 40 are learned from"
    assert first.startswith(note) == told


def test_a_model_that_was_made_is_told_what_to_do_with(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("convgym.agents.pretrain.pretrain", lambda *_, **__: {"parameters": 3})
    code, out, _ = run("pretrain", "mine")
    assert code == 0 and "convgym evaluate mine" in out and "--policy mine" in out
    for module, options, name in (
        ("pretrain_customer", (), "learned"),
        ("pretrain_adapter", ("--base", "smollm2"), "smollm2-customer"),
    ):
        made = f"convgym.agents.{module}.{module}"
        monkeypatch.setattr(made, lambda *_, **__: {"parameters": 3})
        code, out, _ = run("pretrain", "mine", "--kind", "customer", *options)
        assert code == 0 and f"--customer {name} --customer-option model=mine" in out
    monkeypatch.setattr("convgym.agents.customers.voice.merge", lambda *_: 4)
    code, out, _ = run("models", "merge", "mine", "merged")
    assert code == 0 and "merged: mine, 4 parameters" in out and "--customer llm-fitted" in out
    assert "--customer smollm2-customer --customer-option model=merged" in out


def test_a_merged_model_is_a_folder_or_a_file(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(
        "convgym.agents.customers.voice.merge", lambda _, output: output.write_bytes(b"GGUF")
    )
    assert run("models", "merge", "mine", "customer.gguf")[0] == 0
    assert Path("customer.gguf").read_bytes() == b"GGUF"
    code, _, error = run("models", "merge", "mine", "customer.gguf")
    assert code == 2 and "customer.gguf exists and is never overwritten" in error


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ("", "tiny-seed0"),
        ("--customer shopper --seed 2", "tiny-shopper-seed2"),
        (
            "--customer my.shop:Customer --catalog ../x/mine.json",
            "tiny-my.shop-Customer-mine-seed0",
        ),
        ("--personas difficult --evaluate-on mobile", "tiny-difficult-on-mobile-seed0"),
        ("--customer-option patience=3", "tiny-[0-9a-f]{6}-seed0"),
    ],
)
def test_other_customers_go_into_other_folders(
    run: Run, monkeypatch: pytest.MonkeyPatch, options: str, name: str
) -> None:
    folders: list[str] = []
    monkeypatch.setattr(
        "convgym.benchmarks.cli.commands.bench._run",
        lambda suite, folder, seed, workers: folders.append(str(folder)),
    )
    for patience in ("", "1"):
        run("bench", "tiny", *options.replace("=3", f"=3{patience}").split())
    assert all(re.fullmatch(rf"results/{name}", folder) for folder in folders)
    assert len({*folders}) == 1 + ("patience" in options)
