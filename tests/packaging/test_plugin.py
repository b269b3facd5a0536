"""The example plug-in: installed as a user would, found by Gymnasium and on the command line."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PLUGIN = ROOT / "examples" / "customer_plugin"


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install a copy, as building leaves folders, beside this Python's packages; no network."""
    source = tmp_path_factory.mktemp("source") / "plugin"
    leftovers = shutil.ignore_patterns("build", "*.egg-info", "__pycache__")
    shutil.copytree(PLUGIN, source, ignore=leftovers)
    target = tmp_path_factory.mktemp("site-packages")
    command = "-m pip install --quiet --no-index --no-deps --no-build-isolation --target".split()
    done = run([sys.executable, *command, str(target), str(source)], target)
    assert done.returncode == 0, done.stderr
    return target


def run(command: list[str], path: Path) -> subprocess.CompletedProcess[str]:
    """Run a command that finds packages in ``path`` as well, from there."""
    settings = {
        "PYTHONPATH": str(path),
        "OMP_NUM_THREADS": "1",
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    }
    return subprocess.run(
        command,
        capture_output=True,
        text=True,
        encoding="utf-8",
        cwd=path,
        env={**os.environ, **settings},
        timeout=300,
    )


def python(program: str, path: Path) -> str:
    done = run([sys.executable, "-W", "error", "-c", program], path)
    assert done.returncode == 0, done.stderr
    return done.stdout


def convgym(path: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    program = "from convgym.benchmarks.cli.main import main; main()"  # what the command runs
    return run([sys.executable, "-c", program, *arguments], path)


def test_gymnasium_makes_it_by_name(installed: Path) -> None:
    program = """
import gymnasium, sys
env = gymnasium.make("convgym:convgym/Sales-v0", customer="bookshop", reveal_latent=True)
_, info = env.reset(seed=0)
env.step("What do you like to read?")
text, reward, terminated, truncated, info = env.step("Shall I place the order?")
print(text)
assert (reward, terminated, info["outcome"]) == (1.0, True, "purchase")
envs = gymnasium.make_vec("convgym:convgym/Sales-v0", 3, customer="bookshop")
envs.reset(seed=0)
"""
    lines = python(program, installed).splitlines()
    assert lines[2].startswith("Customer: I like ")
    assert lines[-1] == "Customer: Yes, I will take it."


def test_gymnasiums_checker_is_content(installed: Path) -> None:
    python(
        "import gymnasium\n"
        "from gymnasium.utils.env_checker import check_env\n"
        "check_env(gymnasium.make('convgym:convgym/Sales-v0', customer='bookshop').unwrapped)",
        installed,
    )


def test_bench_runs_on_it(installed: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    arguments = "bench smoke --customer bookshop --sellers silent,mediocre --agents none --output"
    done = convgym(installed, *arguments.split(), str(out))
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in (out / "results.jsonl").read_text().splitlines()]
    silent, mediocre = (row["conversion"] for row in rows)
    assert silent == 0 < mediocre
    log = (out / "conversations" / "mediocre.jsonl").read_text()
    assert '"customer":"bookshop-v1:3"' in log


@pytest.mark.slow
def test_agents_train_on_it(installed: Path, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    out = tmp_path / "out"
    arguments = "bench smoke --customer bookshop --sellers none --agents online-ppo --output"
    done = convgym(installed, *arguments.split(), str(out))
    assert done.returncode == 0, done.stderr
    names = [json.loads(line)["name"] for line in (out / "results.jsonl").read_text().splitlines()]
    assert names == ["small-seller", "online-ppo"]


def test_without_it_the_name_is_unknown(tmp_path: Path) -> None:
    done = convgym(tmp_path, "bench", "smoke", "--customer", "bookshop", "--agents", "none")
    assert done.returncode == 2
    assert "unknown customer 'bookshop'; known: " in done.stderr and done.stderr.count("\n") == 1


def test_its_readme_shows_what_is_tested() -> None:
    readme = (PLUGIN / "README.md").read_text(encoding="utf-8")
    assert "bench smoke --customer bookshop --sellers silent,mediocre" in readme
    assert 'gymnasium.make("convgym:convgym/Sales-v0", customer="bookshop")' in readme
