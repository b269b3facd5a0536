"""Language models in this process as sellers by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")

from transformers import LlamaConfig, LlamaForCausalLM

from convgym.agents.model.policy import LanguageModelPolicy
from convgym.agents.model.seller import MAX_TOKENS
from convgym.benchmarks.runs.identity import content
from convgym.benchmarks.runs.suites import Suite
from convgym.errors import ConvgymError
from convgym.rollout import rollout
from convgym.sellers import make_seller
from convgym.shop.catalog import load_catalog
from tests.unit.llm.local.templates import CHATML, make_tokenizer


@pytest.fixture
def chat_model(tmp_path: Path) -> Path:
    """Return the folder of a tiny chat model that nobody has trained."""
    tokenizer = make_tokenizer(CHATML)
    tokenizer.save_pretrained(tmp_path)
    shape = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=8,
        intermediate_size=8,
        num_hidden_layers=1,
        num_attention_heads=1,
        max_position_embeddings=8192,
    )
    LlamaForCausalLM(shape).save_pretrained(tmp_path)
    return tmp_path


def told(spec: str, *arguments: Any, **options: Any) -> str | None:
    policy = make_seller(spec, *arguments, **options)
    assert isinstance(policy, LanguageModelPolicy)
    return policy.model.format.system_message


def test_a_policy_of_this_package_is_a_seller_by_its_folder(tmp_path: Path) -> None:
    LanguageModelPolicy.from_pretrained().save(tmp_path)
    policy = make_seller(f"hf:{tmp_path}", "laptops")
    assert isinstance(policy, LanguageModelPolicy)
    assert policy.name == f"hf:{tmp_path}"
    assert policy.model.sampling.max_new_tokens == MAX_TOKENS
    environment = {"max_turns": 2}
    held = rollout(policy, [1, 2], environment=environment)
    assert all(episode.turns and episode.valid for episode in held)
    again = rollout(make_seller("hf:default"), [1, 2], environment=environment)
    assert [episode.messages() for episode in held] == [episode.messages() for episode in again]


def test_a_chat_model_is_told_of_the_shop_or_what_it_was_trained_with(chat_model: Path) -> None:
    spec = f"hf:{chat_model}"
    assert load_catalog("mobile").briefing() in (told(spec, "mobile") or "")
    assert told(spec, prompt="Sell.") == "Sell."
    (chat_model / "system_message.txt").write_text("As trained.", encoding="utf-8")
    assert told(spec, "mobile") == "As trained."
    assert told(spec, prompt="Sell.") == "Sell."


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"temperature": 0.0}, "temperature"),
        ({"max_tokens": 0}, "max_new_tokens"),
        ({"prompt": ""}, "prompt must be the text"),
        ({"device": "abacus"}, "abacus"),
        ({"top_k": 3}, "cannot make seller 'hf:default'"),
    ],
)
def test_mistakes(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConvgymError, match=message):
        make_seller("hf:default", **options)


def test_the_weights_of_a_compared_folder_make_a_run_what_it_is(chat_model: Path) -> None:
    name = f"hf:{chat_model}"
    suite = Suite("mine", "", (name, "silent"), (), 0, 5)
    before = content(suite, {})["models"]
    assert list(before) == [name]
    (chat_model / "generation_config.json").write_text("{}")
    assert content(suite, {})["models"] != before
