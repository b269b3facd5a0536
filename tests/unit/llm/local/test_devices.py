"""Devices and number types by name: what is there, and what is told of what is not."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from convgym.errors import ConvgymError
from convgym.llm.local.devices import check_dtype, find_device, has_bfloat16


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Let the machine have GPUs, or an Apple one."""

    def machine(cuda: int = 0, mps: bool = False) -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: cuda)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)

    return machine


@pytest.mark.parametrize(
    ("cuda", "mps", "expected"),
    [(0, False, "cpu"), (1, False, "cuda"), (2, True, "cuda"), (0, True, "mps")],
)
def test_auto_is_the_best_there_is(machine: Any, cuda: int, mps: bool, expected: str) -> None:
    machine(cuda, mps)
    assert find_device("auto") == torch.device(expected)


@pytest.mark.parametrize("name", ["cpu", "cuda", "cuda:0", "cuda:1", "mps"])
def test_a_device_by_name(machine: Any, name: str) -> None:
    machine(cuda=2, mps=True)
    assert find_device(name) == torch.device(name)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("cuda", "'cuda' is not there: this machine shows 0 CUDA devices"),
        ("cuda:3", "'cuda:3' is not there"),
        ("mps", "'mps' is not there"),
        ("gpu", "unknown device 'gpu': expected auto, cpu, cuda, cuda:1 or mps"),
        ("", "unknown device ''"),
        ("cuda:one", "unknown device 'cuda:one'"),
        ("CPU", "unknown device 'CPU'"),
        ("meta", "'meta' is not supported"),
        ("xpu", "'xpu' is not supported"),
        (0, "unknown device 0"),
        (None, "unknown device None"),
    ],
)
def test_a_device_that_cannot_be_is_one_line(machine: Any, name: Any, message: str) -> None:
    machine()
    with pytest.raises(ConvgymError, match=message) as caught:
        find_device(name)
    assert "\n" not in str(caught.value)


def test_a_missing_second_gpu_is_told(machine: Any) -> None:
    machine(cuda=1)
    with pytest.raises(ConvgymError, match="'cuda:1' is not there: this machine shows 1 CUDA"):
        find_device("cuda:1")


@pytest.mark.parametrize("dtype", ["float16", "", None, torch.float32])
def test_a_number_type_that_cannot_be_is_one_line(dtype: Any) -> None:
    with pytest.raises(ConvgymError, match="dtype must be one of auto, float32, bfloat16, got"):
        check_dtype(dtype)


def test_apples_gpus_have_no_bfloat16_and_a_cpu_may() -> None:
    assert not has_bfloat16(torch.device("mps"))
    assert isinstance(has_bfloat16(torch.device("cpu")), bool)
