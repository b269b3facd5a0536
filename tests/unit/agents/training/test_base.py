"""Runs: their books, and how they are resumed."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

from convgym.agents.model.batch import TokenisedEpisode
from convgym.agents.protocol import CurvePoint
from convgym.agents.training.minibatches import batches, shuffled
from convgym.agents.training.run import Run, check_budget
from convgym.conversation import Episode, Outcome, Response, Turn
from convgym.errors import ConvgymError, InfrastructureError


@dataclass(frozen=True)
class Config:
    rate: float = 0.1


class Shopper:
    """A customer as an object, with the default ``repr``."""


def episode(outcome: Outcome) -> Episode:
    return Episode(1, "Hi.", (Turn(Response("Hello."), "Bye."),), outcome, "test", "test")


def start(folder: Path | None, **identity: Any) -> Run:
    return Run(
        folder, **{"agent": "bc", "config": Config(), "seed": 0, "environment": None} | identity
    )


def finish_a_step(run: Run) -> None:
    run.deployed([episode("purchase"), episode("walk_away"), episode("infrastructure_failure")])
    run.rows.append({"loss": 0.25})
    run.save({"model": {"weight": torch.tensor([1.0, 2.0])}, "step": 1})


def test_the_books() -> None:
    run = start(None)
    assert run.deployed([episode("purchase"), episode("infrastructure_failure")]) == 1.0
    assert run.deployed([episode("turn_limit"), episode("purchase"), episode("walk_away")]) == 1 / 3
    assert (run.conversations, run.deployments) == (5, 2)
    # A point of the curve: what had been spent before the policy that it measures met customers.
    assert [(p.conversations, p.deployments, p.conversion, p.episodes) for p in run.curve] == [
        (0, 0, 1.0, 1),
        (2, 1, 1 / 3, 3),
    ]
    report = run.report()
    assert (report.conversations, report.deployments, report.curve) == (5, 2, tuple(run.curve))
    assert 0 <= run.curve[0].seconds <= run.curve[-1].seconds <= report.seconds <= run.seconds


def test_a_deployment_that_failed_altogether_is_no_loss() -> None:
    run = start(None)
    with pytest.raises(InfrastructureError, match="failed in all of 1 conversations"):
        run.deployed([episode("infrastructure_failure")])
    assert run.curve == []


def test_a_run_is_resumed_where_it_was_saved(tmp_path: Path) -> None:
    folder = tmp_path / "runs" / "first"
    run = start(folder)
    assert run.state is None
    finish_a_step(run)
    curve: list[CurvePoint] = list(run.curve)
    run.deployed([episode("purchase")])  # interrupted before the next save

    resumed = start(folder)
    assert resumed.state is not None
    assert resumed.state["step"] == 1
    assert resumed.state["model"]["weight"].tolist() == [1.0, 2.0]
    assert (resumed.conversations, resumed.deployments) == (3, 1)
    assert (resumed.curve, resumed.rows) == (curve, [{"loss": 0.25}])
    assert resumed.seconds >= curve[-1].seconds > 0  # the clock goes on


def test_a_run_without_a_folder_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    finish_a_step(start(None))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "other",
    [
        {"agent": "iterative-ppo"},
        {"config": Config(rate=0.2)},
        {"seed": 1},
        {"environment": {"catalog": "two\nlines"}},
        {"environment": {"customer": Shopper}},
    ],
)
def test_the_checkpoint_of_another_run_is_refused(tmp_path: Path, other: dict[str, Any]) -> None:
    finish_a_step(start(tmp_path))
    before = (tmp_path / "checkpoint.pt").read_bytes()
    with pytest.raises(ConvgymError, match="another run") as caught:
        start(tmp_path, **other)
    [line] = str(caught.value).splitlines()
    assert line.startswith(f"{tmp_path} holds the checkpoint of another run: expected {{")
    assert line.endswith("use another folder or delete it")
    assert (tmp_path / "checkpoint.pt").read_bytes() == before


@pytest.mark.parametrize("make", [Shopper, lambda: Config, lambda: lambda: None])
def test_an_identity_does_not_depend_on_addresses(
    tmp_path: Path, make: Callable[[], object]
) -> None:
    """A customer given as an object or a function is the same one in the next process."""
    first, second = make(), make()
    finish_a_step(start(tmp_path, environment={"customer": first}))
    assert start(tmp_path, environment={"customer": second}).state is not None


def test_an_interrupted_save_leaves_the_last_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = start(tmp_path)
    finish_a_step(run)

    def interrupted(value: object, file: Path) -> None:
        file.write_bytes(b"half a checkpoint")
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(torch, "save", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run.save({"step": 2})
    resumed = start(tmp_path)
    assert resumed.state is not None
    assert resumed.state["step"] == 1
    resumed.save({"step": 2})  # over what the interruption left behind
    assert (start(tmp_path).state or {})["step"] == 2
    assert [file.name for file in tmp_path.iterdir()] == ["checkpoint.pt"]


@pytest.mark.parametrize("budget", [0, -5])
def test_a_budget_must_be_positive(budget: int) -> None:
    check_budget(1)
    with pytest.raises(ConvgymError, match=rf"at least 1 conversation, got {budget}"):
        check_budget(budget)


def test_batches_hold_every_episode_once_by_length() -> None:
    rng = random.Random(0)
    episodes = [
        # The first id names the conversation.
        TokenisedEpisode((number, *[1] * n), (-1, *[0] * n), (0.0,) * (n + 1), float(number % 2))
        for number, n in enumerate(rng.choices(range(1, 40), k=23))
    ]
    made = batches(episodes, 5, pad_id=0)
    assert [len(batch) for batch in made] == [5, 5, 5, 5, 3]
    numbers = [number for batch in made for number in batch.ids[:, 0].tolist()]
    assert sorted(numbers) == list(range(23))
    lengths = [length for batch in made for length in batch.lengths.tolist()]
    assert lengths == sorted(len(one.ids) for one in episodes)
    assert [o for batch in made for o in batch.outcomes.tolist()] == [n % 2 for n in numbers]
    assert batches([], 5, pad_id=0) == []


def test_shuffling_is_a_permutation_drawn_from_the_generator() -> None:
    one, same, other = (shuffled(50, torch.Generator().manual_seed(seed)) for seed in (0, 0, 1))
    assert one == same != other
    assert sorted(one) == sorted(other) == list(range(50))
