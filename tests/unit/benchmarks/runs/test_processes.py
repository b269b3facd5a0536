"""Jobs in several processes: the same files, one error told as it would be here, nothing left."""

from __future__ import annotations

import gzip
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import pytest

from convgym.benchmarks.cli import main
from convgym.benchmarks.runs.executor import Task
from convgym.benchmarks.runs.failure import Failure
from convgym.benchmarks.runs.folder import read_manifest, read_results, read_rows
from convgym.benchmarks.runs.parts import PackageParts
from convgym.benchmarks.runs.processes import Postman, Processes, check_can_be_sent
from convgym.benchmarks.runs.runner import Update, run_suite
from convgym.benchmarks.runs.suites import Job, Suite, get_suite, jobs, select
from convgym.errors import ConvgymError, InfrastructureError, OwnError
from convgym.progress import Progress

MINE = """
import os, pathlib, signal, time
from convgym.conversation import Response

class Seller:
    name = "mine"
    def reset(self, seed): pass
    def act(self, conversations):
        self.before()
        return [Response("Shall I place the order?") for _ in conversations]
    def before(self): pass

class Slow(Seller):
    def before(self): time.sleep(0.5)

class Breaks(Seller):
    def before(self): {}["mine"]

class Dies(Seller):
    def before(self): os.kill(os.getpid(), signal.SIGKILL)

class Waits(Seller):
    def before(self):
        if "WAIT" in os.environ:
            pathlib.Path(os.environ["WAIT"], str(os.getpid())).touch()
            try:
                time.sleep(600)
            finally:
                pathlib.Path(os.environ["WAIT"], f"{os.getpid()}-unwound").touch()
"""


@pytest.fixture
def suite() -> Suite:
    return Suite("scripts", "", ("silent", "competent"), (), 0, 12, environment={"max_turns": 4})


@pytest.fixture(autouse=True)
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a module of somebody's own."""
    folder = tmp_path / "own"
    folder.mkdir()
    (folder / "mine.py").write_text(MINE)
    monkeypatch.syspath_prepend(folder)
    monkeypatch.delitem(sys.modules, "mine", raising=False)
    return folder


def timeless(path: Path) -> list[dict[str, Any]]:
    seconds = ("train_seconds", "evaluation_seconds", "cpu_seconds", "seconds")
    return [
        {name: value for name, value in row.items() if name not in seconds}
        for row in read_rows(path)
    ]


def stored(folder: Path) -> dict[str, Any]:
    """All that a run leaves behind and that does not depend on the clock."""
    rows = {name: timeless(folder / f"{name}.jsonl") for name in ("results", "curves", "training")}
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    same = [path for path in files if path.parent.name in ("conversations", "policy")]
    return {
        **rows,
        "names": [str(path.relative_to(folder)) for path in files],
        **{str(path.relative_to(folder)): whole(path) for path in same},
    }


def whole(path: Path) -> bytes:
    """Return a file; what is packed unpacked, as the time stands in its header."""
    data = path.read_bytes()
    return gzip.decompress(data) if path.suffix == ".gz" else data


def test_several_processes_leave_the_files_of_one(tmp_path: Path, suite: Suite) -> None:
    suite = replace(suite, sellers=("mine:Slow", *suite.sellers))
    seen: list[Update] = []
    here = run_suite(suite, tmp_path / "here", seed=3)
    there = run_suite(suite, tmp_path / "there", seed=3, progress=seen.append, workers=Processes(2))
    assert [result.job for result in there] == [result.job for result in here] == jobs(suite, 3)
    assert stored(tmp_path / "there") == stored(tmp_path / "here")
    assert read_manifest(tmp_path / "there")["finished"]
    # The slow one was done side by side with both others, and all told of themselves.
    over = [update.job.name for update in seen if update.result]
    assert sorted(over) == sorted(suite.sellers) and over[-1] == "mine:Slow"
    told = {(update.job.name, update.stage) for update in seen}
    assert {(name, stage) for name in suite.sellers for stage in ("evaluate", "done")} <= told
    assert all(update.remaining[0] == update.job for update in seen)
    assert run_suite(suite, tmp_path / "there", seed=3) == there  # nothing is left to do


@pytest.mark.slow
def test_agents_learn_the_same_in_another_process(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    torch.set_num_threads(1)
    smoke = replace(get_suite("smoke"), conversations=16, evaluation_episodes=4)
    suite = select(smoke, sellers=[], agents=["online-ppo"])
    run_suite(suite, tmp_path / "here")
    run_suite(suite, tmp_path / "there", workers=Processes(1, threads=1))
    here, there = stored(tmp_path / "here"), stored(tmp_path / "there")
    assert {row["name"] for row in here["training"]} == {"online-ppo"}
    assert {(row["dtype"], "device" in row) for row in here["results"]} == {("float32", True)}
    assert there == here


def test_an_error_of_a_job_is_told_as_it_would_be_here(tmp_path: Path, suite: Suite) -> None:
    suite = replace(suite, sellers=("mine:Breaks",))
    expected = r"seller 'mine:Breaks', seed 0, raised KeyError: 'mine' \(mine.py, line \d+, in bef"
    with pytest.raises(OwnError, match=expected):
        run_suite(suite, tmp_path / "here")
    with pytest.raises(OwnError, match=expected) as told:
        run_suite(suite, tmp_path / "there", workers=Processes(2))
    assert isinstance(told.value.__cause__, KeyError)
    assert 'def before(self): {}["mine"]' in str(told.value.__cause__.__cause__)


def test_a_process_that_is_killed_is_one_error_and_the_run_goes_on(
    tmp_path: Path, suite: Suite
) -> None:
    suite = replace(suite, sellers=("mine:Dies", "silent"))
    with pytest.raises(InfrastructureError, match=r"ended abruptly while mine-Dies.*goes on"):
        run_suite(suite, tmp_path / "out", workers=Processes(1))
    assert not read_results(tmp_path / "out")  # of equals the first is done first


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_an_interruption_stops_all_and_the_same_command_goes_on(
    tmp_path: Path, mine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    notes, output = tmp_path / "notes", tmp_path / "out"
    notes.mkdir()
    (mine / "own.toml").write_text(
        'sellers = ["mine:Waits", "silent", "competent"]\nevaluation_episodes = 4\n'
    )
    arguments = f"bench own.toml --output {output}".split()
    command = [sys.executable, "-m", "convgym.benchmarks.cli.main", *arguments]
    run = subprocess.Popen(
        [*command, "--jobs", "2"],
        cwd=mine,
        env={**os.environ, "WAIT": str(notes)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        # Whoever runs the tests in the background may have had Ctrl-C ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    done = output / "results.jsonl"
    wait_for(lambda: [*notes.iterdir()] and done.exists() and len(read_results(output)) == 2)
    os.killpg(run.pid, signal.SIGINT)  # as a terminal does
    said, _ = run.communicate(timeout=60)
    assert run.returncode == 130 and "the same command resumes" in said
    assert "Traceback" not in said
    (worker,) = [int(note.name) for note in notes.iterdir() if note.name.isdigit()]
    assert (notes / f"{worker}-unwound").exists()  # as Ctrl-C does without --jobs
    wait_for(lambda: not alive(worker))
    monkeypatch.chdir(mine)
    with pytest.raises(SystemExit) as end:
        main.main(arguments)  # by one process: how many there were is no part of a run
    assert not end.value.code
    assert [result.job.name for result in read_results(output)] == [
        "mine:Waits",
        "silent",
        "competent",
    ]


def wait_for(condition: Callable[[], Any]) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


def test_what_cannot_be_sent_to_another_process_is_told_beforehand(
    tmp_path: Path, suite: Suite
) -> None:
    suite = replace(suite, environment={"customer": lambda: None})
    task = Task(suite, Job("seller", "silent", 0), 0, PackageParts(), tmp_path)
    with pytest.raises(ConvgymError, match=r"silent cannot be done in another.*one process"):
        check_can_be_sent([task])


class Awkward(Exception):
    def __init__(self, one: str, two: str) -> None:
        super().__init__(f"{one} and {two}")


@pytest.mark.parametrize(
    ("cause", "kind", "text"),
    [
        (OSError(28, "No space left", "a.txt"), OSError, "[Errno 28] No space left: 'a.txt'"),
        (ModuleNotFoundError("no torch", name="torch"), ModuleNotFoundError, "no torch"),
        (Awkward("this", "that"), RuntimeError, "Awkward: this and that"),
    ],
)
def test_a_failure_keeps_what_an_error_says(
    cause: Exception, kind: type[Exception], text: str
) -> None:
    told = OwnError("agent 'x' raised")
    told.__cause__ = cause
    error = Failure.of(told).error()
    assert type(error) is OwnError and str(error) == str(told)
    assert type(error.__cause__) is kind and str(error.__cause__) == text
    assert getattr(error.__cause__, "errno", None) == getattr(cause, "errno", None)


def test_errors_without_a_cause_are_told_by_their_kind() -> None:
    class Special(ConvgymError):
        pass

    for error in (ConvgymError("a"), InfrastructureError("a"), Special("a")):
        told = Failure.of(error).error()
        assert str(told) == "a" and told.__cause__ is None and isinstance(error, type(told))


def test_news_are_sent_now_and_then_and_of_every_stage() -> None:
    mail: SimpleQueue[tuple[Job, Progress]] = SimpleQueue()
    job = Job("seller", "silent", 0)
    metrics: Any = {"loss": 0.5, "picture": object()}
    postman = Postman(mail, job)
    for stage in ("train", "evaluate"):
        for done in range(100):
            postman(Progress(stage, done, 100, metrics))
    sent = [mail.get() for _ in range(mail.qsize())]
    assert 2 <= len(sent) < 100
    assert sent[0] == (job, Progress("train", 0, 100, {"loss": 0.5}))
    assert {news.stage for _, news in sent} == {"train", "evaluate"}
    assert json.dumps([dict(news.metrics) for _, news in sent])
