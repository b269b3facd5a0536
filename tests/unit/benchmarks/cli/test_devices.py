"""``--device`` and ``--dtype`` on every command that runs a model; one line for what is missing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from convgym.agents.protocol import placement
from convgym.benchmarks.cli import main
from convgym.benchmarks.cli.options import computing, computing_of_all, with_computing
from convgym.benchmarks.cli.steps import speaker
from convgym.benchmarks.runs import runner, suites
from convgym.benchmarks.runs.folder import read_manifest, read_results
from convgym.benchmarks.runs.result import Result
from convgym.benchmarks.runs.suites import Job, Suite
from convgym.errors import ConvgymError
from convgym.registry import Registry
from convgym.sellers import make_seller
from tests.unit.benchmarks.conftest import World

COMMANDS = {
    "bench": "smoke --output out",
    "train": "bc --output out",
    "evaluate": "default",
    "collect": "log.jsonl --policy default",
    "fit-q": "log.jsonl --policy default --output out",
    "improve": "default --q q --log log.jsonl --output out",
    "gate": "new --policy default --q q --log log.jsonl",
    "chat": "--seller hf:default",
}
MISSING = [
    ("--device", "cuda:99", "device 'cuda:99' is not there"),
    ("--device", "tpu", "unknown device 'tpu'"),
    ("--dtype", "float16", "dtype must be one of auto, float32, bfloat16, got 'float16'"),
]


@pytest.mark.parametrize(("option", "value", "told"), MISSING)
@pytest.mark.parametrize("command", COMMANDS)
def test_what_is_not_there_is_one_line_before_anything_begins(
    command: str,
    option: str,
    value: str,
    told: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as end:
        main.main([command, *COMMANDS[command].split(), option, value])
    error = capsys.readouterr().err
    assert end.value.code == 2 and told in error and error.count("\n") == 1
    assert not [*tmp_path.iterdir()]


def test_settings_say_where_within_what_they_are_of() -> None:
    chosen = computing("cpu", "bfloat16")
    assert chosen == {"device": "cpu", "dtype": "bfloat16"} and computing(None, None) == {}
    assert with_computing({"epochs": 2}, chosen, ["policy"]) == {"epochs": 2, "policy": chosen}
    given = {"policy": {"lora": None}}
    assert with_computing(given, chosen, ["policy"]) == {"policy": {"lora": None, **chosen}}
    assert given == {"policy": {"lora": None}} and with_computing(given, {}, ["policy"]) == given
    with pytest.raises(ConvgymError, match="device is given twice: drop --device or the setting"):
        with_computing({"policy": {"device": "cpu"}}, chosen, ["policy"])


def test_agents_and_sellers_that_compute_are_told_where() -> None:
    sellers = ["competent", "hf:folder", "openai:model"]
    assert computing_of_all(["bc", "online-ppo@8"], sellers, {"device": "cpu"}) == [
        ("hf:folder.device", "cpu"),
        ("bc.policy.device", "cpu"),
        ("online-ppo@8.policy.device", "cpu"),
    ]
    with pytest.raises(ConvgymError, match="--dtype is of language models, and none is compared"):
        computing_of_all([], ["competent"], {"dtype": "float32"})


def test_bench_tells_its_agents_and_keeps_it_in_the_manifest(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    suite: Suite,
    world: World,
    restored: Callable[[Registry[Any]], None],
) -> None:
    monkeypatch.chdir(tmp_path)
    restored(suites.SUITES)
    suites.SUITES.register("tiny", suite)
    monkeypatch.setattr(runner, "default_parts", lambda: world)
    arguments = "bench tiny --device cpu --dtype bfloat16 --set bc.policy.dtype=float32".split()
    with pytest.raises(SystemExit) as end:
        main.main(arguments)
    assert not end.value.code
    agents = read_manifest(tmp_path / "results" / "tiny-seed0")["run"]["agents"]
    found = {
        name: (each["policy"]["device"], each["policy"]["dtype"]) for name, each in agents.items()
    }
    assert found == {"bc": ("cpu", "float32"), "online-ppo": ("cpu", "bfloat16")}


def test_results_say_where_and_how_exactly(tmp_path: Path) -> None:
    row = Result(Job("agent", "bc", 0), "pw", 2.0, device="cuda:1", dtype="bfloat16").to_row()
    assert (row["device"], row["dtype"]) == ("cuda:1", "bfloat16")
    assert Result.from_row(row).device == "cuda:1"
    scripted = Result(Job("seller", "silent", 0), "pw", 2.0)
    assert "device" not in scripted.to_row() and Result.from_row(scripted.to_row()) == scripted
    assert read_results(tmp_path) == []


def test_policies_and_sellers_compute_as_they_are_told() -> None:
    told = {"device": "cpu", "dtype": "bfloat16"}
    for name in ("default", "hf:default"):
        policy: Any = speaker(name, {}, told)
        assert placement(policy) == told and policy.model.device == torch.device("cpu")
    assert placement(make_seller("competent")) == {}
    with pytest.raises(ConvgymError, match="'competent' is a seller, which has no device, dtype"):
        speaker("competent", {}, told)
