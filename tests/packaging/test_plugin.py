"""The example plug-in: installed as a user would, found by Gymnasium and on the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.packaging.plugins import EXAMPLES, convgym, install, python

PLUGIN = EXAMPLES / "customer_plugin"


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return install(PLUGIN, tmp_path_factory.mktemp("bookshop"))


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
    out, suite = tmp_path / "out", tmp_path / "few.toml"
    suite.write_text(
        "conversations = 8\nevaluation_episodes = 4\n[agents.online-ppo]\ndeployment = 4\n"
    )
    arguments = ["--customer", "bookshop", "--output", str(out)]
    done = convgym(installed, "bench", str(suite), *arguments)
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
