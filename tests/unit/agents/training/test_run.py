"""Runs: their books, and how they are resumed."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from convgym.agents.protocol import CurvePoint
from convgym.agents.training.collector import Collector
from convgym.agents.training.run import Run
from convgym.conversation import Response
from convgym.customers import Decision, Reply
from convgym.datafiles import find
from convgym.errors import ConvgymError, InfrastructureError
from convgym.policy import Conversation
from convgym.seeds import train_seeds


@dataclass(frozen=True)
class Config:
    rate: float = 0.1


class Shopper:
    """A customer as an object, with the default ``repr``: buys, leaves or fails as it is told."""

    fingerprint = "shopper"

    def __init__(self, fates: Mapping[int, str] | None = None) -> None:
        self.fates = fates or {}

    def reset(self, seed: int) -> str:
        self.will = self.fates.get(seed, "buy")
        return "Hi."

    def respond(self, utterance: str) -> Reply:
        if self.will == "fail":
            raise InfrastructureError("down")
        return Reply("Bye.", Decision.BUY if self.will == "buy" else Decision.LEAVE)

    @property
    def latent(self) -> dict[str, Any]:
        return {}


class Seller:
    """Says one word."""

    name = "seller"

    def reset(self, seed: int) -> None: ...

    def act(self, conversations: Sequence[Conversation]) -> list[Response]:
        return [Response("Hello.") for _ in conversations]


def customers(*fates: str) -> dict[str, Any]:
    """Return an environment whose customers meet these fates, in the order of seed 0."""
    return {"customer": partial(Shopper, dict(zip(train_seeds(0, len(fates)), fates, strict=True)))}


ENVIRONMENT = customers("buy", "leave", "fail", "leave", "buy", "leave")


def start(
    folder: Path | None, *, seed: int = 0, budget: int = 6, **options: Any
) -> tuple[Run, Collector]:
    identity = {name: options.pop(name) for name in ("agent", "config") if name in options}
    collector = Collector(budget, seed=seed, **{"environment": ENVIRONMENT} | options)
    return Run(collector, folder, **{"agent": "bc", "config": Config()} | identity), collector


def finish_a_step(run: Run) -> None:
    run.collector.deploy(Seller(), 3)
    run.rows.append({"loss": 0.25})
    run.save({"model": {"weight": torch.tensor([1.0, 2.0])}, "step": 1})


def test_the_books() -> None:
    run, collector = start(None)
    assert [episode.converted for episode in collector.deploy(Seller(), 2)] == [True, False]
    collector.deploy(Seller(), 4)
    usage = collector.usage
    assert (usage.conversations, usage.deployments, usage.excluded) == (6, 2, 1)
    assert usage.turns == 5  # of the one that failed nothing was heard
    # A point of the curve: what had been spent before the policy that it measures met customers.
    assert [
        (p.conversations, p.deployments, p.conversion, p.episodes) for p in collector.curve
    ] == [
        (0, 0, 1 / 2, 2),
        (2, 1, 1 / 3, 3),
    ]
    report = run.report(notes=("a note",))
    assert (report.usage, report.curve) == (usage, tuple(collector.curve))
    assert report.notes == ("a note",)
    seconds = [point.seconds for point in report.curve]
    assert 0 <= seconds[0] <= seconds[-1] <= report.seconds <= collector.seconds


def test_a_deployment_that_failed_altogether_is_no_loss() -> None:
    _, collector = start(None, environment=customers("fail"), budget=1)
    with pytest.raises(InfrastructureError, match="failed in all of 1 conversations: down"):
        collector.deploy(Seller(), 1)
    assert collector.curve == []


def test_a_run_is_resumed_where_it_was_saved(tmp_path: Path) -> None:
    folder = tmp_path / "runs" / "first"
    run, collector = start(folder)
    assert run.state is None
    finish_a_step(run)
    curve: list[CurvePoint] = list(collector.curve)
    collector.deploy(Seller(), 1)  # interrupted before the next save

    resumed, books = start(folder)
    assert resumed.state is not None
    assert resumed.state["step"] == 1
    assert resumed.state["model"]["weight"].tolist() == [1.0, 2.0]
    assert (books.usage.conversations, books.usage.deployments) == (3, 1)
    assert (books.curve, resumed.rows) == (curve, [{"loss": 0.25}])
    assert books.seconds >= curve[-1].seconds > 0  # the clock goes on


def test_a_run_without_a_folder_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    finish_a_step(start(None)[0])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "other",
    [
        {"agent": "iterative-ppo"},
        {"config": Config(rate=0.2)},
        {"seed": 1},
        {"environment": {"customer_options": {"word": "two\nlines"}}},
        {"environment": {"customer": Shopper}},
        {"budget": 7},
        {"log": "some.jsonl"},
    ],
)
def test_the_checkpoint_of_another_run_is_refused(tmp_path: Path, other: dict[str, Any]) -> None:
    finish_a_step(start(tmp_path)[0])
    before = (tmp_path / "checkpoint.safetensors").read_bytes()
    with pytest.raises(ConvgymError, match="another run") as caught:
        start(tmp_path, **other)
    [line] = str(caught.value).splitlines()
    assert line.startswith(f"{tmp_path} holds the checkpoint of another run: expected {{")
    assert line.endswith("use another folder or delete it")
    assert (tmp_path / "checkpoint.safetensors").read_bytes() == before


@pytest.mark.parametrize("make", [Shopper, lambda: Config, lambda: lambda: None])
def test_an_identity_does_not_depend_on_addresses(
    tmp_path: Path, make: Callable[[], object]
) -> None:
    """A customer given as an object or a function is the same one in the next process."""
    first, second = make(), make()
    run, _ = start(tmp_path, environment={"customer": first})
    run.save({"step": 1})
    again, _ = start(tmp_path, environment={"customer": second})
    assert again.state == {"step": 1}


def test_an_interrupted_save_leaves_the_last_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, _ = start(tmp_path)
    finish_a_step(run)

    def interrupted(descriptor: int) -> None:
        raise KeyboardInterrupt  # half of the file may be written by then

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run.save({"step": 2})
    resumed, _ = start(tmp_path)
    assert resumed.state is not None
    assert resumed.state["step"] == 1
    resumed.save({"step": 2})  # over what the interruption left behind
    assert start(tmp_path)[0].state == {"step": 2}
    assert sorted(file.name for file in tmp_path.iterdir()) == [
        "checkpoint.safetensors",
        "conversations",
    ]


@pytest.mark.parametrize("moved", [False, True])
def test_a_catalogue_counts_by_its_content(tmp_path: Path, moved: bool) -> None:
    shop = tmp_path / "shop.json"
    source = find("laptops", "catalogs", "catalog").read_text(encoding="utf-8")
    shop.write_text(source, encoding="utf-8")
    run = Run(Collector(8, seed=0, environment={"catalog": str(shop)}), tmp_path / "run")
    run.save({})
    other = tmp_path / "other.json"
    other.write_text(source if moved else source.replace(": 750", ": 751"), encoding="utf-8")
    again = Collector(8, seed=0, environment={"catalog": str(other)})
    if moved:
        assert Run(again, tmp_path / "run").state == {}
    else:
        with pytest.raises(ConvgymError, match="another run"):
            Run(again, tmp_path / "run")


def test_a_log_counts_by_its_content(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text("1", encoding="utf-8")
    Run(Collector(8, seed=0, log=tmp_path / "a.jsonl"), tmp_path / "run").save({})
    (tmp_path / "a.jsonl").rename(tmp_path / "b.jsonl")
    assert Run(Collector(8, seed=0, log=tmp_path / "b.jsonl"), tmp_path / "run").state == {}
    (tmp_path / "b.jsonl").write_text("2", encoding="utf-8")
    with pytest.raises(ConvgymError, match="another run"):
        Run(Collector(8, seed=0, log=tmp_path / "b.jsonl"), tmp_path / "run")


@pytest.mark.parametrize("text", ["x" * 10_000, "nul\x00", ".", ""])
def test_options_that_are_no_files_count_as_they_are(tmp_path: Path, text: str) -> None:
    options = {"customer_options": {"prompt": text}}
    assert Collector(8, seed=0, environment=options).identity()["environment"] == options
