"""How much is computed at once: by device, or as asked for."""

from __future__ import annotations

import pytest
import torch

from convgym.agents.model.config import PolicyConfig
from convgym.agents.model.devices import BatchSizes
from convgym.agents.model.policy import LanguageModelPolicy


@pytest.mark.parametrize(
    ("device", "given", "expected"),
    [
        ("cpu", (None, None), (256, 64, 32, 16)),
        ("cuda", (None, None), (1024, 256, 128, 64)),
        ("mps", (16, None), (16, 256, 128, 64)),
        ("cpu", (None, 2), (256, 2, 1, 1)),
    ],
)
def test_sizes_suit_the_device_or_the_user(
    device: str, given: tuple[int | None, int | None], expected: tuple[int, ...]
) -> None:
    assert BatchSizes.of(torch.device(device), *given) == BatchSizes(*expected)


def test_a_policy_computes_in_the_sizes_that_it_is_given() -> None:
    config = PolicyConfig(generation_batch=7, reading_batch=12, device="cpu")
    policy = LanguageModelPolicy.from_pretrained(config=config)
    assert policy.batch_size == 7
    assert policy.model.batch_sizes == BatchSizes(7, 12, 6, 3)
