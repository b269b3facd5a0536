"""Local customers of every make: templates, tokenizers and architectures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers as T
from transformers import GenerationConfig

from convgym.errors import ConvgymError
from convgym.llm.base import ChatAnswer, ChatMessage, ChatRequest
from convgym.llm.local.sampling import Row, Sampler
from convgym.llm.local.transformers_backend import TransformersBackend
from tests.unit.llm.local.templates import (
    ALWAYS_THINKING,
    CHATML,
    GEMMA,
    GLM,
    GOOD,
    make_tokenizer,
)

SHAPE: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "bos_token_id": None,
    "eos_token_id": None,
    "pad_token_id": None,
}
SCHEMA = {
    "type": "object",
    "properties": {"decision": {"enum": ["buy", "leave"]}},
    "required": ["decision"],
    "additionalProperties": False,
}
MESSAGES: tuple[ChatMessage, ...] = (
    {"role": "system", "content": "You want a laptop."},
    {"role": "user", "content": "Hello."},
)


def build(make: str, vocabulary: int, **shape: Any) -> Any:
    torch.manual_seed(0)
    model, config = getattr(T, f"{make}ForCausalLM"), getattr(T, f"{make}Config")
    network = model(config(vocab_size=vocabulary, **shape)).eval()
    for parameter in network.parameters():
        if parameter.ndim == 2:
            parameter.data *= 6  # far from uniform, so that every mistake shows
    return network


def save(folder: Path, tokenizer: Any, network: Any = None) -> Path:
    if network is None:
        network = build("Llama", len(tokenizer), **SHAPE)
    network.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def answers(folder: Path, messages: tuple[ChatMessage, ...] = MESSAGES) -> list[ChatAnswer]:
    backend = TransformersBackend(folder)
    requests = [
        ChatRequest(messages, seed=seed, max_tokens=20, schema=schema)
        for seed in (0, 1)
        for schema in (None, SCHEMA)
    ]
    found = backend.complete(requests)
    assert all(isinstance(answer, ChatAnswer) for answer in found)
    return [answer for answer in found if isinstance(answer, ChatAnswer)]


def read(folder: Path, messages: tuple[ChatMessage, ...] = MESSAGES) -> str:
    """Return what the model reads of some messages."""
    model = TransformersBackend(folder)._model
    return model._text(model._row(ChatRequest(messages, 0)).prompt)


@pytest.mark.parametrize("name", GOOD)
def test_a_customer_reads_its_instruction_in_any_usual_template(name: str, tmp_path: Path) -> None:
    folder = save(tmp_path / "tiny", make_tokenizer(GOOD[name][0]))
    assert read(folder).count("You want a laptop.") == 1
    assert len(answers(folder)) == 4


def test_templates_that_cannot_lead_a_seller_may_lead_a_customer(tmp_path: Path) -> None:
    folder = save(tmp_path / "tiny", make_tokenizer(ALWAYS_THINKING))
    assert read(folder).endswith("<think>\n")


def test_old_messages_may_go_where_roles_must_alternate(tmp_path: Path) -> None:
    tokenizer = make_tokenizer(GEMMA)
    network = build("Llama", len(tokenizer), **SHAPE, max_position_embeddings=160)
    folder = save(tmp_path / "tiny", tokenizer, network)
    turns: tuple[ChatMessage, ...] = tuple(
        {"role": ("user", "assistant")[i % 2], "content": f"words {i} " * 2} for i in range(15)
    )
    for count in range(1, 16, 2):
        backend = TransformersBackend(folder)
        request = ChatRequest((MESSAGES[0], *turns[:count]), 0, max_tokens=8)
        (answer,) = backend.complete([request])
        assert isinstance(answer, ChatAnswer) and answer.prompt_tokens <= 152


def test_of_several_templates_the_default_is_used(tmp_path: Path) -> None:
    several = save(tmp_path / "a", make_tokenizer({"default": CHATML, "tool_use": GLM}))
    single = save(tmp_path / "b", make_tokenizer(CHATML))
    assert read(several) == read(single)
    assert answers(several) == answers(single)
    with pytest.raises(ConvgymError, match="called rag, tool_use"):
        TransformersBackend(save(tmp_path / "c", make_tokenizer({"rag": GLM, "tool_use": GLM})))


def test_an_answer_ends_with_its_turn(tmp_path: Path) -> None:
    tokenizer = make_tokenizer(GOOD["phi"][0])
    network = build("Llama", len(tokenizer), **SHAPE)
    network.generation_config = GenerationConfig(eos_token_id=[tokenizer.eos_token_id])
    model = TransformersBackend(save(tmp_path / "tiny", tokenizer, network))._model
    end = tokenizer.convert_tokens_to_ids("<|end|>")
    assert model._sampler._end_ids == {tokenizer.eos_token_id, end}


@pytest.mark.parametrize("extra", [-1, 0, 1, 40])
def test_a_model_may_have_other_logits_than_there_are_tokens(tmp_path: Path, extra: int) -> None:
    tokenizer = make_tokenizer(CHATML)
    tokenizer.add_special_tokens({"pad_token": "<pad>"})
    network = build("Llama", len(tokenizer) + extra, **SHAPE)
    assert len(answers(save(tmp_path / "tiny", tokenizer, network))) == 4


REFUSED: dict[str, tuple[str, dict[str, Any]]] = {
    "mamba": ("Mamba", {"hidden_size": 32, "num_hidden_layers": 2, "state_size": 8}),
    "rwkv": ("Rwkv", {"hidden_size": 32, "num_hidden_layers": 2, "context_length": 128}),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_model_without_a_cache_of_keys_is_refused(name: str, tmp_path: Path) -> None:
    tokenizer = make_tokenizer(CHATML)
    make, shape = REFUSED[name]
    folder = save(tmp_path / "tiny", tokenizer, build(make, len(tokenizer), **shape))
    with pytest.raises(ConvgymError, match=f"of type '{name}' cannot be used as a customer") as e:
        TransformersBackend(folder)
    assert "\n" not in str(e.value)


WORKING: dict[str, tuple[str, dict[str, Any]]] = {
    "biases of positions": ("Bloom", {"hidden_size": 32, "n_layer": 2, "n_head": 4}),
    "a window": ("Mistral", {**SHAPE, "sliding_window": 8}),
    "capped logits": ("Gemma2", {**SHAPE, "head_dim": 8, "sliding_window": 8}),
}


@pytest.mark.parametrize("name", WORKING)
def test_other_attention_answers_in_a_batch_as_alone(name: str, tmp_path: Path) -> None:
    tokenizer = make_tokenizer(CHATML)
    make, shape = WORKING[name]
    network = build(make, len(tokenizer), **shape)
    assert len(answers(save(tmp_path / "tiny", tokenizer, network))) == 4
    sampler = Sampler(network, ())
    rows = [Row(tuple(range(5, 5 + n)), 0, 5, 0.0) for n in (30, 18, 40, 18)]
    sampler.sample(rows)
    sampler.sample(longer := [Row((*row.prompt, 9, 8), 0, 5, 0.0) for row in rows])
    with torch.inference_mode():
        for row in [*rows, *longer]:
            ids = torch.tensor([[*row.prompt, *row.answer]])
            logits = network(input_ids=ids, use_cache=False).logits[0, len(row.prompt) - 1 : -1]
            assert row.answer == logits.argmax(-1).tolist()


def test_a_folder_that_cannot_be_loaded_is_one_error(tmp_path: Path) -> None:
    folder = save(tmp_path / "tiny", make_tokenizer(CHATML))
    (folder / "config.json").write_text('{"model_type": "of tomorrow"}', encoding="utf-8")
    with pytest.raises(ConvgymError, match="cannot be loaded") as caught:
        TransformersBackend(folder)
    assert "\n" not in str(caught.value)
