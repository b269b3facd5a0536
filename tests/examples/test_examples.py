"""Every example runs as a newcomer would run it, from another folder, and shows what it says.

What the documentation shows of logs, options and info is compared with the code as well.
"""

from __future__ import annotations

import dataclasses
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import gymnasium
import pytest

from convgym.conversation import OUTCOMES
from convgym.customers import Reply
from convgym.envs.scenario import Scenario
from convgym.errors import InfrastructureError
from convgym.logs import read_log

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples"
DOCS = ROOT / "docs"

INTERVAL = re.compile(r"conversion ([\d.]+)%, 95% interval ([\d.]+)% to ([\d.]+)%")


def rates(output: str) -> list[float]:
    """Return every conversion rate in percent, having checked that its interval holds it."""
    found = [tuple(map(float, match)) for match in INTERVAL.findall(output)]
    for value, low, high in found:
        assert 0 <= low <= value <= high <= 100
        assert low < high
    return [value for value, _, _ in found]


def check_quickstart(output: str) -> None:
    lines = output.splitlines()
    assert lines[0].startswith("Customer: ") and lines[1].startswith("Seller: ")
    assert lines[-1] == "(purchase, reward 1.0)"


def check_vectorised(output: str) -> None:
    assert "500 conversations in " in output and "competent seller" in output
    (rate,) = rates(output)
    assert rate > 75


def check_own_customer(output: str) -> None:
    assert "Customer: Hello, I need a plant." in output and "(purchase)" in output
    hasty, attentive = rates(output)
    assert hasty < attentive == 100


def check_bad_customer(output: str) -> None:
    heads = [line.split(":")[0].split(maxsplit=1) for line in output.splitlines()]
    status = {check: verdict for verdict, check in heads}
    faults = ("disclosure", "leakage", "role", "endings", "attacks", "determinism")
    assert [status[fault] for fault in faults] == ["fail"] * 6
    assert status["words"] == "warn" and status["snapshots"] == "skipped"


def check_round(output: str) -> None:
    steps = re.findall(r"^# ([a-z][\w-]*)$", output, flags=re.MULTILINE)
    assert steps == "log imitate judge-0 collect fit-q improve gate judge-1".split()
    assert output.count(" of processors") == 8 and output.count(": conversion ") == 2
    assert re.search(r"[+-]\d+\.\d points \[.*\] over .*, smollm2-round/pi_0.json\)", output)


def check_chats(output: str) -> None:
    steps = "import clone fit-q improve gate judge-clone judge-better prompts serve".split()
    assert re.findall(r"^# ([a-z][\w-]*)$", output, flags=re.MULTILINE) == steps
    assert re.search(r"wrote \d\d conversations to from-chats/log.jsonl, \d+ sales", output)
    assert re.search(r"[+-]\d+\.\d points \[.*\] over .*, from-chats/clone.json\)", output)
    scores = json.loads(next(line for line in output.splitlines() if line.startswith('{"scores"')))
    assert len(scores["scores"]) == 2
    assert re.findall(r"^(\S+) +[\d.]+ s$", output, flags=re.MULTILINE) == steps


def check_logs(output: str) -> None:
    assert "wrote 100 conversations\nadded 20\nread 120: {" in output
    assert "A sale by the mediocre seller, {'epsilon': 0.2}:\nCustomer: " in output
    assert output.endswith("cut off: 119 are whole; line 120: the last line has no end\n")


def check_api_seller(output: str) -> None:
    assert output.startswith("Customer: ") and "Seller: " in output
    (rate,) = rates(output)
    assert rate > 70
    assert "'seller_failure': " in output and "openai/shop-assistant: status 503" in output
    assert re.search(r"spent \d{3} requests, \d+ tokens", output)
    assert output.endswith("the replay, without an endpoint, is the same: True\n")


def check_training(output: str) -> None:
    assert output.startswith("before: conversion ") and "\nafter:  conversion " in output
    assert len(rates(output)) == 2
    assert output.count("16 customers") == 2
    assert "16 of 16 conversations" in output
    assert "training used 16 conversations, deployments: 1" in output
    assert "convgym chat --seller trained" in output


RUNS: dict[str, tuple[list[str], Callable[[str], None]]] = {
    "quickstart": ([], check_quickstart),
    "vectorised": ([], check_vectorised),
    "own_customer": ([], check_own_customer),
    "bad_customer": ([], check_bad_customer),
    "write_and_read_logs": ([], check_logs),
    "api_seller": ([], check_api_seller),
    "train_an_agent": (
        ["--conversations", "16", "--customers", "16", "--save", "trained"],
        check_training,
    ),
    "from_chats": ("--chats 60 --customers 4".split(), check_chats),
    # The small seller stands in for the chat model, which takes over twenty minutes.
    "train_smollm2": (
        "--model default --log 16 --epochs 1 --conversations 16 --batches 1 --customers 4".split(),
        check_round,
    ),
}
LEFT = {
    "train_an_agent": {"trained"},
    "train_smollm2": {"smollm2-round"},
    "from_chats": {"from-chats"},
}
"""What an example leaves in the folder that it was started in."""
SLOW = {*LEFT}


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[pytest.mark.slow] if name in SLOW else []) for name in RUNS],
)
def test_example(name: str, tmp_path: Path) -> None:
    arguments, check = RUNS[name]
    run = subprocess.run(
        [sys.executable, str(EXAMPLES / f"{name}.py"), *arguments],
        capture_output=True,
        text=True,
        encoding="utf-8",
        cwd=tmp_path,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "error"},
        timeout=300,
    )
    assert run.returncode == 0, run.stderr
    check(run.stdout)
    assert {path.name for path in tmp_path.iterdir()} == LEFT.get(name, set())


def test_no_example_is_left_out() -> None:
    assert {path.stem for path in EXAMPLES.glob("*.py")} == set(RUNS)


@pytest.mark.parametrize("name", RUNS)
def test_an_example_says_how_to_run_it(name: str) -> None:
    source = (EXAMPLES / f"{name}.py").read_text(encoding="utf-8")
    assert source.startswith('"""')
    assert f"``python examples/{name}.py``" in source.split('"""')[1]


def section(document: str, title: str) -> str:
    """Return the text under a heading of a document."""
    text = (DOCS / document).read_text(encoding="utf-8")
    return text.split(f"\n## {title}\n")[1].split("\n## ")[0]


def first_column(text: str) -> list[str]:
    """Return the code in the first column of the tables in ``text``."""
    return re.findall(r"^\| `([^`]+)`", text, flags=re.MULTILINE)


def test_the_documented_log_is_a_log(tmp_path: Path) -> None:
    block = section("conversation_logs.md", "An episode").split("```json\n")[1].split("```")[0]
    row = json.loads(block)
    path = tmp_path / "log.jsonl"
    path.write_text(json.dumps(row) + "\n", encoding="utf-8")
    (episode,) = read_log(path).episodes
    assert episode.turns[0].response.token_ids == (4, 8)
    assert first_column(section("conversation_logs.md", "An episode")) == list(row)
    assert first_column(section("conversation_logs.md", "A turn")) == list(row["turns"][0])


def test_the_documented_options_are_the_options() -> None:
    fields = dataclasses.fields(Scenario)
    options = section("environment.md", "Options")
    assert first_column(options) == [*(field.name for field in fields), "render_mode"]
    for field in fields:
        default = f'"{field.default}"' if isinstance(field.default, str) else field.default
        assert f"| `{field.name}` | `{default}` |" in options


def test_the_documented_info_and_ends_are_those_of_the_environment() -> None:
    class Broken:
        fingerprint = "broken"
        latent: dict[str, str] = {}  # noqa: RUF012

        def reset(self, seed: int) -> str:
            return "Hello."

        def respond(self, utterance: str) -> Reply:
            raise InfrastructureError("no answer")

    env = gymnasium.make("convgym/Sales-v0", customer=Broken, reveal_latent=True)
    _, opening = env.reset(seed=0)
    *_, end = env.step("Hello.")
    keys = first_column(section("environment.md", "Info"))
    assert sorted(keys) == sorted(opening.keys() | end.keys())
    ends = first_column(section("environment.md", "Rewards and ends"))
    assert tuple(outcome.strip('"') for outcome in ends[1:]) == OUTCOMES
