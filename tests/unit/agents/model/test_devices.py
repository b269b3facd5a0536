"""How much is computed at once: by device, or as asked for."""

from __future__ import annotations

import pytest
import torch

from convgym.agents.model.config import PolicyConfig
from convgym.agents.model.devices import BatchSizes, cache_bytes
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


@pytest.mark.parametrize(
    ("cache", "generation", "reading"),
    [(2_048, 256, 64), (46_080, 45, 22), (10**9, 1, 1)],  # ours, SmolLM2-135M, one of many billions
)
def test_a_model_that_remembers_much_holds_fewer_conversations_on_a_processor(
    cache: int, generation: int, reading: int
) -> None:
    sizes = BatchSizes.of(torch.device("cpu"), cache=cache)
    assert (sizes.generation, sizes.reading) == (generation, reading)
    assert BatchSizes.of(torch.device("cpu"), 7, 5, cache=cache) == BatchSizes(7, 5, 2, 1)
    assert BatchSizes.of(torch.device("cuda"), cache=cache) == BatchSizes(1024, 256, 128, 64)


def test_a_cache_is_as_large_as_it_is_told() -> None:
    model = LanguageModelPolicy.from_pretrained(config=PolicyConfig(device="cpu")).model
    ids = torch.zeros(1, 10, dtype=torch.long)
    cache = model.body(ids, use_cache=True).past_key_values
    tensors = [t for layer in cache.layers for t in (layer.keys, layer.values)]
    assert cache_bytes(model.network) == sum(t.numel() * t.element_size() for t in tensors) / 10


def test_a_policy_computes_in_the_sizes_that_it_is_given() -> None:
    config = PolicyConfig(generation_batch=7, reading_batch=12, device="cpu")
    policy = LanguageModelPolicy.from_pretrained(config=config)
    assert policy.batch_size == 7
    assert policy.model.batch_sizes == BatchSizes(7, 12, 6, 3)
