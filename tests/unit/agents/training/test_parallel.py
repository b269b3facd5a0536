"""Gradients that several processes share: shares that add up to the whole."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from convgym.agents.launcher import launched, launched_alone, launched_number
from convgym.agents.training import parallel
from convgym.agents.training.optim import Optimiser
from convgym.benchmarks.cli import main
from convgym.errors import ConvgymError


def as_process(monkeypatch: pytest.MonkeyPatch, number: int, count: int) -> None:
    """Stand in for one of several processes, that does not hear of the others."""
    monkeypatch.setattr(parallel, "count", lambda: count)
    monkeypatch.setattr(parallel, "number", lambda: number)
    monkeypatch.setattr(parallel, "summed", list)
    monkeypatch.setattr(parallel, "share_gradients", lambda parameters: None)


@pytest.mark.parametrize(("n", "count"), [(7, 1), (7, 2), (7, 3), (2, 4), (1, 2)])
def test_shares_add_up_to_the_whole_gradient(
    n: int, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = torch.arange(1.0, n + 1)
    weight = nn.Parameter(torch.tensor([2.0]))
    optimiser = Optimiser([weight], 0.1, 1.0)

    def terms(rows: slice) -> list[Tensor]:
        return [(weight * data[rows]).sum() / n, torch.tensor(float(len(data[rows])))]

    gradients, losses, seen = [], [], []
    for number in range(count):
        as_process(monkeypatch, number, count)
        loss, rows = optimiser.add_up(n, terms)
        assert weight.grad is not None  # of every process, or the others would wait for ever
        gradients.append(weight.grad.clone())
        losses.append(loss)
        seen.append(rows)
    torch.testing.assert_close(sum(gradients), data.sum()[None] / n)
    torch.testing.assert_close(sum(losses), 2 * data.sum() / n)
    assert sum(map(float, seen)) == n
    parts, weight_of_parts = parallel.own_parts([*range(n)])
    assert len(parts) >= 1 and weight_of_parts in (0.0, 1.0)


def test_one_process_alone_feels_nothing() -> None:
    assert (parallel.count(), parallel.number(), parallel.own_share(5)) == (1, 0, (slice(0, 5), 1))
    assert parallel.summed([torch.tensor(3.0)]) == [torch.tensor(3.0)]
    assert parallel.total(0.1, torch.device("cpu")) == 0.1
    assert parallel.on_first(lambda: 5) == 5
    parallel.join()  # meets nobody


def test_a_launcher_is_known_by_what_it_sets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "4")
    assert (launched(), launched_number()) == (1, 0)
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    assert (launched(), launched_number(), launched_alone()) == (1, 0, False)
    monkeypatch.setenv("RANK", "3")
    assert (launched(), launched_number(), launched_alone()) == (4, 3, False)


def test_commands_that_are_one_process_are_refused_in_several(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    launcher = {"WORLD_SIZE": "2", "RANK": "0", "MASTER_ADDR": "127.0.0.1"}
    for name, value in launcher.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit) as end:
        main.main(["bench", "smoke"])
    error = capsys.readouterr().err
    assert end.value.code == 2 and "share convgym improve and pretrain alone" in error
    assert error.count("\n") == 1


def test_one_process_in_place_of_several_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    launch = pytest.importorskip("accelerate.commands.launch")
    launcher = pytest.importorskip("accelerate.utils.launch")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    monkeypatch.setattr(launch, "default_config_file", str(tmp_path / "none"))
    for processes in (1, 2):
        asked = ["--num_processes", str(processes), "-m", "any"]
        arguments, *_ = launch._validate_launch_command(
            launch.launch_command_parser().parse_args(asked)
        )
        assert not arguments.multi_gpu
        _, environment = launcher.prepare_simple_launcher_cmd_env(arguments)
        monkeypatch.setattr("os.environ", environment)
        assert launched_alone() == (processes == 2)
    with pytest.raises(SystemExit) as end:
        main.main(["improve", "default", "--q", "q", "--log", "log.jsonl", "--output", "new"])
    error = capsys.readouterr().err
    assert end.value.code == 2 and "torchrun --nproc_per_node N" in error
    assert error.count("\n") == 1


def test_processes_that_do_not_meet_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"WORLD_SIZE": "2", "RANK": "0", "MASTER_ADDR": "127.0.0.1"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("accelerate.PartialState", lambda cpu: None)
    with pytest.raises(ConvgymError, match="started 2 processes, of which 1 met"):
        parallel.join()


def test_errors_of_the_first_are_everybodys(monkeypatch: pytest.MonkeyPatch) -> None:
    box: list[object] = []

    def broadcast(things: list[object]) -> None:
        box[:] = box or things
        things[:] = box

    def refuse() -> int:
        raise ConvgymError("not empty")

    monkeypatch.setattr("torch.distributed.broadcast_object_list", broadcast)
    for number in range(2):
        as_process(monkeypatch, number, 2)
        with pytest.raises(ConvgymError, match="not empty"):
            parallel.on_first(refuse)
    box.clear()
    for number in range(2):
        as_process(monkeypatch, number, 2)
        assert parallel.on_first(lambda: 7) == 7
