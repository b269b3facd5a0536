"""Jobs on a Ray cluster: shares of it, files that come back, workers that are lost."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from convgym.agents.protocol import CHECKPOINT
from convgym.benchmarks.cli import main
from convgym.benchmarks.runs import ray_cluster
from convgym.benchmarks.runs.executor import Outcome, Task
from convgym.benchmarks.runs.failure import Failure
from convgym.benchmarks.runs.parts import PackageParts
from convgym.benchmarks.runs.ray_cluster import Mailbox, RayWorkers, Share, share_of
from convgym.benchmarks.runs.result import Result
from convgym.benchmarks.runs.suites import Job, Suite
from convgym.errors import ConvgymError, InfrastructureError
from convgym.progress import Progress
from tests.unit.benchmarks.runs.test_processes import stored

ROOT = Path(__file__).parents[4]
JOB = Job("agent", "bc", 0)


@pytest.mark.parametrize(
    ("resources", "nodes", "jobs", "tasks", "share"),
    [
        ({"CPU": 8.0}, [8.0], None, 40, Share(8, 1, 0.0)),
        ({"CPU": 8.0}, [8.0], None, 2, Share(2, 4, 0.0)),
        ({"CPU": 8.0}, [4.0, 4.0], 1, 40, Share(1, 4, 0.0)),
        ({"CPU": 2.0}, [2.0], 5, 40, Share(5, 1, 0.0)),
        ({"CPU": 16.0, "GPU": 2.0}, [8.0, 8.0], None, 40, Share(2, 8, 1.0)),
        ({"CPU": 16.0, "GPU": 1.0}, [16.0], 3, 40, Share(3, 5, 0.3333)),
        ({"CPU": 16.0, "GPU": 4.0}, [16.0], 2, 40, Share(2, 8, 1.0)),
        ({}, [], None, 3, Share(1, 1, 0.0)),
    ],
)
def test_a_cluster_is_shared_by_its_jobs(
    resources: dict[str, float], nodes: list[float], jobs: int | None, tasks: int, share: Share
) -> None:
    assert share_of(resources, nodes, jobs, tasks) == share


def test_only_the_last_news_of_a_job_are_of_interest() -> None:
    mailbox = Mailbox()
    for done in (1, 2):
        mailbox.put(JOB, Progress("train", done, 4))
    assert mailbox.take() == [(JOB, Progress("train", 2, 4))] and mailbox.take() == []


def test_files_come_back_in_place_of_what_was_there(tmp_path: Path, suite: Suite) -> None:
    there, here = tmp_path / "there", tmp_path / "here"
    (there / "policy").mkdir(parents=True)
    (there / "policy" / "weights").write_bytes(b"new")
    (there / CHECKPOINT).write_bytes(b"of no use")
    here.mkdir()
    (here / "half").touch()
    task = Task(suite, JOB, 0, PackageParts(), here)
    outcome = Outcome(Result(JOB, "p", 1.0))
    assert ray_cluster._stored(task, outcome, ray_cluster._files(there)) == outcome
    assert [path for path in here.rglob("*") if path.is_file()] == [here / "policy" / "weights"]
    assert (here / "policy" / "weights").read_bytes() == b"new"
    with pytest.raises(ConvgymError, match="why"):
        ray_cluster._stored(task, Failure.of(ConvgymError("why")), {})


def test_other_code_on_another_machine_is_refused(tmp_path: Path, suite: Suite) -> None:
    task = Task(suite, JOB, 0, PackageParts(), tmp_path)
    failure, files = ray_cluster._work(task, None, "other code", 1, "", ())
    assert isinstance(failure, Failure) and "another version" in failure.message and not files


def test_without_ray_it_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(SystemExit) as end:
        main.main(["bench", "smoke", "--ray", "local", "--output", str(tmp_path / "out")])
    assert end.value.code == 2
    error = capsys.readouterr().err
    assert "[ray]" in error and "pip install" in error and error.count("\n") == 1


@pytest.mark.parametrize(
    ("address", "raised", "told"),
    [
        ("local", InfrastructureError, "could not start a cluster on this machine .*--jobs"),
        ("auto", ConvgymError, "no Ray cluster answers at 'auto' .*ray start --head"),
    ],
)
def test_a_cluster_that_does_not_come_up_is_one_line(
    address: str,
    raised: type[Exception],
    told: str,
    tmp_path: Path,
    suite: Suite,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Ray:
        is_initialized = staticmethod(lambda: False)

        @staticmethod
        def init(*_: object, **__: object) -> None:
            raise Exception("The current node timed out during startup.")  # as Ray does it

    monkeypatch.setattr(ray_cluster, "load_ray", Ray)
    task = Task(suite, JOB, 0, PackageParts(), tmp_path)
    with pytest.raises(raised, match=told):
        next(RayWorkers(address).outcomes([task], lambda *_: None))


CHOOSER = '''
import json, os, signal
from dataclasses import dataclass
from pathlib import Path
from convgym.agents import TrainingReport
from convgym.sellers import make_seller

@dataclass(frozen=True)
class Config:
    mark: str = ""

class Chooser:
    """Tries two sellers; dies in the middle the first time that it leaves its mark."""
    Config = Config

    def __init__(self, config, name):
        self.config, self.name, self.chosen = config, name, "silent"

    def reset(self, seed):
        pass

    def act(self, conversations):
        return make_seller(self.chosen).act(conversations)

    def train(self, collector, *, folder=None, progress=None):
        for self.chosen in ("always-closing", "competent"):
            collector.deploy(self, collector.budget // 2)
            mark = Path(self.config.mark)
            if self.config.mark and not mark.exists():
                mark.touch()
                os.kill(os.getpid(), signal.SIGKILL)
        rows = [{"conversion": point.conversion} for point in collector.curve]
        return TrainingReport(collector.usage, collector.seconds, tuple(collector.curve), rows)

    def save(self, folder):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "chosen.json").write_text(json.dumps(self.chosen))

    def load(self, folder):
        self.chosen = json.loads((folder / "chosen.json").read_text())
'''
RUN = """
import json, sys
from pathlib import Path
import ray
from ray.cluster_utils import Cluster
from convgym.benchmarks.runs.ray_cluster import RayWorkers
from convgym.benchmarks.runs.runner import run_suite
from convgym.benchmarks.runs.suites import Suite

mark = sys.argv[1]
suite = Suite(
    "two-machines", "", ("silent", "competent"), ("chooser:Chooser",), 8, 12, training_seeds=2
)
run_suite(suite, Path("here"))
node = {"num_cpus": 1, "object_store_memory": 80_000_000}
cluster = Cluster(initialize_head=True, head_node_args={**node, "include_dashboard": False})
cluster.add_node(**node)
updates = []
run_suite(suite, Path("there"), workers=RayWorkers(cluster.address), progress=updates.append)
assert {update.stage for update in updates} > {"done"}
if mark:
    from dataclasses import replace
    deadly = replace(suite, sellers=(), overrides={"chooser:Chooser": {"mark": mark}})
    run_suite(deadly, Path("killed"), workers=RayWorkers(cluster.address))
cluster.shutdown()
"""


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="Ray is not installed")
def test_two_machines_leave_the_files_of_one_and_a_lost_worker_counts_once(tmp_path: Path) -> None:
    (tmp_path / "chooser.py").write_text(CHOOSER)
    (tmp_path / "run.py").write_text(RUN)
    mark = tmp_path / "mark"
    done = subprocess.run(
        [sys.executable, "run.py", str(mark)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=600,
        env={**os.environ, "RAY_TMPDIR": "/tmp", "RAY_USAGE_STATS_ENABLED": "0"},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    here, there = stored(tmp_path / "here"), stored(tmp_path / "there")
    assert there == here and "agents/chooser-Chooser-seed0/policy/chosen.json" in here["names"]
    assert mark.exists()
    killed = stored(tmp_path / "killed")
    assert killed["training"] == here["training"] and len(killed["training"]) == 4
    usage = [(row["conversations"], row["deployments"]) for row in killed["results"][1:]]
    assert usage == [(8, 2), (8, 2)]
    assert killed["curves"] == here["curves"]
    assert json.dumps(killed["results"][1:]) == json.dumps(here["results"][3:])
