"""Models of strangers: their log-probabilities are right, or they are refused in one line."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import (
    AutoModelForCausalLM,
    Gemma2Config,
    Gemma3TextConfig,
    LlamaConfig,
    MistralConfig,
    Phi3Config,
    PreTrainedConfig,
    Qwen2Config,
    Qwen3Config,
)

from convgym.agents.model.find_format import find_format
from convgym.agents.model.language_model import LanguageModel
from convgym.agents.model.policy import LanguageModelPolicy
from convgym.agents.model.sampling import SamplingConfig
from convgym.conversation import Message
from convgym.errors import ConvgymError
from convgym.policy import Conversation
from convgym.rollout import rollout
from tests.unit.llm.local.templates import CHATML, make_tokenizer

KINDS: list[Callable[..., PreTrainedConfig]] = [
    *(Gemma2Config, Gemma3TextConfig, LlamaConfig, MistralConfig, Phi3Config),
    *(Qwen2Config, Qwen3Config),
]
TOKENIZER = make_tokenizer(CHATML)


def says_only_what_it_was_told(error: ConvgymError) -> bool:
    return len(str(error).splitlines()) == 1


@settings(max_examples=25)
@given(
    kind=st.sampled_from(KINDS),
    window=st.sampled_from([None, 24, 64, 100]),
    context=st.sampled_from([96, 256, 1024]),
    layers=st.integers(1, 3),
    tied=st.booleans(),
    more_logits=st.integers(0, 7),
    temperature=st.sampled_from([0.3, 1.0, 2.0]),
    turns=st.integers(1, 5),
)
def test_log_probabilities_are_right_or_the_model_is_refused(
    kind: Callable[..., PreTrainedConfig],
    window: int | None,
    context: int,
    layers: int,
    tied: bool,
    more_logits: int,
    temperature: float,
    turns: int,
) -> None:
    torch.manual_seed(0)
    options: dict[str, Any] = {} if window is None else {"sliding_window": window}
    if kind in (Qwen2Config, Qwen3Config):
        options |= {"use_sliding_window": window is not None, "max_window_layers": 0}
    network = AutoModelForCausalLM.from_config(
        kind(
            vocab_size=len(TOKENIZER) + more_logits,
            hidden_size=16,
            intermediate_size=24,
            num_hidden_layers=layers,
            num_attention_heads=2,
            num_key_value_heads=1,
            head_dim=8,
            max_position_embeddings=context,
            tie_word_embeddings=tied,
            pad_token_id=None,
            bos_token_id=None,
            eos_token_id=0,
            **options,
        )
    ).float()
    try:
        format = find_format(TOKENIZER, "You sell laptops.")
        policy = LanguageModelPolicy(
            LanguageModel.of(network, format, SamplingConfig(temperature, 6))
        )
    except ConvgymError as error:
        assert says_only_what_it_was_told(error)
        assert kind is Gemma2Config or min(window or context, context) <= 100  # too little room
        return
    episodes = rollout(policy, [1, 2], environment={"max_turns": turns, "patience": 90.0})
    model = policy.model
    batch = model.collate(model.tokenise(episodes))
    with torch.inference_mode():
        difference = model.logprobs(batch) - batch.logprobs[batch.response]
    assert float(difference.abs().max()) < 1e-4


@settings(max_examples=25)
@given(st.lists(st.integers(1, 400), min_size=1, max_size=8), st.integers(0, 200))
def test_conversations_of_any_length_are_answered(lengths: list[int], said: int) -> None:
    torch.manual_seed(0)
    network = AutoModelForCausalLM.from_config(
        LlamaConfig(
            vocab_size=len(TOKENIZER),
            hidden_size=8,
            intermediate_size=8,
            num_hidden_layers=1,
            num_attention_heads=1,
            max_position_embeddings=256,
            bos_token_id=None,
            eos_token_id=0,
        )
    )
    model = LanguageModel.of(network, find_format(TOKENIZER, "Sell."), SamplingConfig(1.0, 6))
    policy = LanguageModelPolicy(model)
    messages: list[Message] = []
    for length in lengths:
        messages.append({"role": "user", "content": "word " * length})
        messages.append({"role": "assistant", "content": "yes " * said})
    messages.pop()
    (response,) = policy.act([Conversation(0, messages, random.Random(0))])
    assert response.token_ids and len(response.token_ids) <= 6
    (again,) = policy.act([Conversation(0, messages, random.Random(0))])
    assert again.token_ids


def test_a_refusal_is_a_line() -> None:
    with pytest.raises(ConvgymError) as caught:
        find_format(make_tokenizer(""), "Sell.")
    assert says_only_what_it_was_told(caught.value)
