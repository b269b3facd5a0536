"""Models of every make: each computes in sampling what it computes plainly, or is refused."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers as T
from torch import Tensor
from transformers import PreTrainedModel

from convgym.agents.model.checks import check
from convgym.agents.model.config import PolicyConfig
from convgym.agents.model.context import usable_context
from convgym.agents.model.format import MIN_WORDS, ConversationFormat
from convgym.agents.model.language_model import LanguageModel
from convgym.agents.model.lora import LoRA
from convgym.agents.model.policy import LanguageModelPolicy
from convgym.agents.model.sampling import SamplingConfig
from convgym.agents.values.q_function import QFunction, QFunctionConfig
from convgym.errors import ConvgymError
from convgym.rollout import rollout

SHAPE: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 384,
}
SMALL = {key: value for key, value in SHAPE.items() if "key_value" not in key}
GPT: dict[str, Any] = {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 384}
ENDS: dict[str, Any] = {"bos_token_id": None, "eos_token_id": 1, "pad_token_id": 0}
OPT: dict[str, Any] = {
    "hidden_size": 32,
    "word_embed_proj_dim": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "ffn_dim": 64,
    "max_position_embeddings": 384,
}
LONGROPE = {
    "rope_type": "longrope",
    "rope_theta": 10000.0,
    "short_factor": [1.0] * 4,
    "long_factor": [4.0] * 4,
}
DYNAMIC = {"rope_type": "dynamic", "factor": 4.0, "rope_theta": 10000.0}

WORKING: dict[str, tuple[str, str, dict[str, Any], int]] = {
    "llama": ("LlamaForCausalLM", "LlamaConfig", SHAPE, 384),
    "llama-dynamic": (
        "LlamaForCausalLM",
        "LlamaConfig",
        {**SHAPE, "rope_parameters": DYNAMIC},
        384,
    ),
    "mistral": ("MistralForCausalLM", "MistralConfig", {**SHAPE, "sliding_window": 96}, 96),
    "gemma": ("GemmaForCausalLM", "GemmaConfig", {**SHAPE, "head_dim": 8}, 384),
    "gemma3": (
        "Gemma3ForCausalLM",
        "Gemma3TextConfig",
        {**SHAPE, "head_dim": 8, "sliding_window": 64},
        64,
    ),
    "phi3": ("Phi3ForCausalLM", "Phi3Config", SHAPE, 384),
    "phi3-long": (
        "Phi3ForCausalLM",
        "Phi3Config",
        {**SHAPE, "original_max_position_embeddings": 128, "rope_parameters": LONGROPE},
        128,
    ),
    "qwen2": ("Qwen2ForCausalLM", "Qwen2Config", SHAPE, 384),
    "qwen2-window": (
        "Qwen2ForCausalLM",
        "Qwen2Config",
        {**SHAPE, "use_sliding_window": True, "sliding_window": 80, "max_window_layers": 1},
        80,
    ),
    "qwen3": ("Qwen3ForCausalLM", "Qwen3Config", {**SHAPE, "head_dim": 8}, 384),
    "mixtral": ("MixtralForCausalLM", "MixtralConfig", {**SHAPE, "num_local_experts": 4}, 384),
    "gpt2": ("GPT2LMHeadModel", "GPT2Config", GPT, 384),
    "gpt-neox": ("GPTNeoXForCausalLM", "GPTNeoXConfig", SMALL, 384),
    "opt": ("OPTForCausalLM", "OPTConfig", OPT, 384),
}

REFUSED: dict[str, tuple[str, str, dict[str, Any], str]] = {
    "no known length": (
        "MptForCausalLM",
        "MptConfig",
        {"d_model": 32, "n_layers": 2, "n_heads": 4},
        "'mpt'",
    ),
    "linear biases": (
        "BloomForCausalLM",
        "BloomConfig",
        {"hidden_size": 32, "n_layer": 2, "n_head": 4},
        "'bloom'",
    ),
    "linear biases of another make": (
        "FalconForCausalLM",
        "FalconConfig",
        {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "alibi": True},
        "'falcon'",
    ),
    "attention of its own": (
        "GPTNeoForCausalLM",
        "GPTNeoConfig",
        {
            "hidden_size": 32,
            "num_layers": 2,
            "num_heads": 4,
            "attention_types": [[["global", "local"], 1]],
        },
        "'gpt_neo'",
    ),
    "recurrent": (
        "MambaForCausalLM",
        "MambaConfig",
        {"hidden_size": 32, "num_hidden_layers": 2, "state_size": 8},
        "'mamba'",
    ),
    "convolutions between": (
        "Lfm2ForCausalLM",
        "Lfm2Config",
        {**SHAPE, "block_ff_dim": 64, "layer_types": ["conv", "full_attention"]},
        "'lfm2'",
    ),
    "capped logits": ("Gemma2ForCausalLM", "Gemma2Config", {**SHAPE, "head_dim": 8}, "'gemma2'"),
    "scaled logits": (
        "GraniteForCausalLM",
        "GraniteConfig",
        {**SHAPE, "logits_scaling": 8.0},
        "'granite'.*after the output layer",
    ),
    "sinks": (
        "GptOssForCausalLM",
        "GptOssConfig",
        {**SHAPE, "head_dim": 8, "num_local_experts": 2, "num_experts_per_tok": 1},
        "'gpt_oss'",
    ),
    "projected output": (
        "OPTForCausalLM",
        "OPTConfig",
        {**OPT, "word_embed_proj_dim": 16},
        "'opt'.*hidden states have size 16",
    ),
}


def build(model: str, config: str, shape: dict[str, Any], vocabulary: int) -> PreTrainedModel:
    torch.manual_seed(0)
    settings = {"vocab_size": vocabulary, **ENDS, **shape}
    network: PreTrainedModel = getattr(T, model)(getattr(T, config)(**settings)).eval()
    for parameter in network.parameters():
        if parameter.ndim == 2:
            parameter.data *= 5  # far from uniform, so that every mistake shows
    return network


def plain(model: LanguageModel, state: Sequence[int], spoken: Sequence[int]) -> Tensor:
    """Return a response's log-probabilities as the network alone has them."""
    ids = torch.tensor([[*state, *spoken]])
    logits = model.network(input_ids=ids, use_cache=False).logits[0, len(state) - 1 : -1]
    logits[:, list(model.format.forbidden_ids)] = -torch.inf
    scores = (logits / model.sampling.temperature).log_softmax(-1)
    found: Tensor = scores.gather(1, ids[0, len(state) :, None])[:, 0]
    return found


@pytest.mark.parametrize("name", WORKING)
def test_what_works_computes_what_the_network_does(name: str, format: ConversationFormat) -> None:
    make, config, shape, context = WORKING[name]
    network = build(make, config, shape, len(format.tokenizer))
    model = LanguageModel.of(network, format, SamplingConfig(0.9, 6))
    policy = LanguageModelPolicy(model)
    assert model.context == context
    episodes = rollout(policy, [1, 2, 3], environment={"max_turns": 5, "patience": 90.0})
    log = model.tokenise(episodes)
    with torch.inference_mode():
        trained = model.logprobs(model.collate(log)).tolist()
        candidates = model.sample(log, 2, torch.Generator().manual_seed(0))
        packed = model.pack(list(zip(log, candidates, strict=True)))
        chosen = packed.ids[packed.rows, packed.columns][:, None]
        of_packs = model.packed_distributions(packed).gather(1, chosen)[:, 0].tolist()
        expected: list[float] = []
        found: list[float] = []
        branched: list[float] = []
        of_branches: list[float] = []
        for episode, others in zip(log, candidates, strict=True):
            for turn, start in enumerate(episode.response_starts()):
                place = slice(start, start + episode.turns.count(turn))
                expected += plain(model, episode.ids[:start], episode.ids[place]).tolist()
                found += episode.logprobs[place]
            for other in others:
                start = episode.response_starts()[other.turn]
                branched += other.token_logprobs
                of_branches += plain(model, episode.ids[:start], other.token_ids).tolist()
    assert len(expected) > 15
    assert found == pytest.approx(expected, abs=1e-4)
    assert trained == pytest.approx(expected, abs=1e-4)
    assert branched == pytest.approx(of_branches, abs=1e-4)
    assert of_packs == pytest.approx(of_branches, abs=1e-4)


@pytest.mark.parametrize("name", REFUSED)
def test_what_does_not_work_is_refused_with_type_and_reason(
    name: str, format: ConversationFormat
) -> None:
    make, config, shape, reason = REFUSED[name]
    network = build(make, config, shape, len(format.tokenizer))
    with pytest.raises(ConvgymError, match=f"{reason}.*use a Llama-like model") as caught:
        LanguageModelPolicy(LanguageModel.of(network, format))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("window", [8, 20])
def test_a_window_too_short_for_a_conversation_is_refused(
    window: int, format: ConversationFormat
) -> None:
    shape = {**SHAPE, "sliding_window": window}
    network = build("MistralForCausalLM", "MistralConfig", shape, len(format.tokenizer))
    with pytest.raises(ConvgymError, match=f"'mistral' reads {window} tokens.*{MIN_WORDS}"):
        LanguageModelPolicy(LanguageModel.of(network, format, SamplingConfig(1.0, 12)))


def without_mask(module: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    return args, {**kwargs, "attention_mask": None}


def with_other_positions(module: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    positions = kwargs.get("position_ids")
    return args, {**kwargs, "position_ids": None if positions is None else positions // 2}


def bidirectional(module: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    if kwargs.get("attention_mask") is not None or kwargs.get("past_key_values") is not None:
        return args, kwargs
    n = kwargs["input_ids"].shape[1]
    return args, {**kwargs, "attention_mask": torch.ones(1, 1, n, n, dtype=torch.bool)}


@pytest.mark.parametrize(
    ("spoil", "make", "config", "shape"),
    [
        (without_mask, "LlamaForCausalLM", "LlamaConfig", SHAPE),
        (bidirectional, "LlamaForCausalLM", "LlamaConfig", SHAPE),
        # Rotated positions are relative, learned ones are not.
        (with_other_positions, "GPT2LMHeadModel", "GPT2Config", GPT),
    ],
)
def test_a_body_that_reads_otherwise_is_noticed(
    spoil: Callable[..., Any], make: str, config: str, shape: Any, format: ConversationFormat
) -> None:
    network = build(make, config, shape, len(format.tokenizer))
    network.base_model.register_forward_pre_hook(spoil, with_kwargs=True)
    with pytest.raises(ConvgymError, match=r"differ by .* nats from those of a plain forward pass"):
        check(LanguageModel.of(network, format))


def test_a_window_that_no_config_tells_of_is_noticed(
    format: ConversationFormat, monkeypatch: pytest.MonkeyPatch
) -> None:
    shape = {**SHAPE, "sliding_window": 64}
    network = build("MistralForCausalLM", "MistralConfig", shape, len(format.tokenizer))
    layers: Any = network.base_model.layers
    for layer in layers:
        layer.self_attn.sliding_window = None
    monkeypatch.setattr("convgym.agents.model.context._WINDOWS", ())
    assert usable_context(network.config) == 384
    with pytest.raises(ConvgymError, match="MistralAttention uses sliding_window"):
        check(LanguageModel.of(network, format))


def test_a_network_is_tried_once(
    format: ConversationFormat, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = build("LlamaForCausalLM", "LlamaConfig", SHAPE, len(format.tokenizer))
    passes: list[int] = []
    network.register_forward_hook(lambda *_: passes.append(1))
    policy = LanguageModelPolicy(LanguageModel.of(network, format))
    tried = len(passes)
    policy.voice(None, 2.0)
    LanguageModelPolicy(policy.model)
    assert tried and len(passes) == tried


@pytest.mark.parametrize(
    ("settings", "context"),
    [
        ({}, 384),
        ({"sliding_window": 100}, 100),
        ({"sliding_window": 1000}, 384),
        ({"sliding_window": 100, "use_sliding_window": False}, 384),
        ({"sliding_window": 100, "layer_types": ["full_attention"] * 2}, 384),
        ({"window_size": 50}, 50),
        ({"window_size": [50, 40]}, 40),
        ({"attention_chunk_size": 60}, 60),
        ({"attention_window_size": 70, "sliding_window": None}, 70),
        ({"local_attention": True}, 384),
    ],
)
def test_the_usable_context_is_what_every_layer_sees(
    settings: dict[str, Any], context: int
) -> None:
    config = T.LlamaConfig(**SHAPE)
    for name, value in settings.items():
        setattr(config, name, value)
    assert usable_context(config) == context


@pytest.mark.parametrize("name", ["mistral", "gemma3", "qwen2-window"])
def test_packs_may_be_longer_than_a_window(name: str, format: ConversationFormat) -> None:
    make, config, shape, window = WORKING[name]
    network = build(make, config, shape, len(format.tokenizer))
    model = LanguageModel.of(network, format, SamplingConfig(1.0, 4))
    LanguageModelPolicy(model)
    member = QFunction(model, QFunctionConfig(replies=2, max_reply_tokens=4))
    torch.nn.init.normal_(member.value_head.weight)
    prompt = format.opening("Hi, I need a laptop for work.")[:40]
    responses = [(10 + i, 30 + i, format.end_id) for i in range(window)]
    prompts = [prompt] * len(responses)
    together = member.opinions(prompts, responses, torch.Generator().manual_seed(0))
    for i in (0, len(responses) - 1):
        alone = member.opinions(prompts[:1], responses[i : i + 1], torch.Generator().manual_seed(0))
        assert float(together[0][i]) == pytest.approx(float(alone[0][0]), abs=1e-5)
        assert float(together[1][i]) == pytest.approx(float(alone[1][0]), abs=1e-5)
    assert together[2].isfinite().all()


@pytest.mark.parametrize("settings", [{"dtype": "bfloat16"}, {"lora": LoRA(rank=2)}, {}])
def test_rounding_hides_no_difference(
    settings: dict[str, Any], format: ConversationFormat, tmp_path: Path
) -> None:
    shape = {**SHAPE, "logits_scaling": 1.01}
    network = build("GraniteForCausalLM", "GraniteConfig", shape, len(format.tokenizer))
    network.save_pretrained(tmp_path)
    format.tokenizer.save_pretrained(tmp_path)
    with pytest.raises(ConvgymError, match="'granite' cannot be used"):
        LanguageModelPolicy.from_pretrained(tmp_path, config=PolicyConfig(**settings))


def test_a_model_without_words_is_refused(format: ConversationFormat) -> None:
    body = T.LlamaModel(T.LlamaConfig(vocab_size=len(format.tokenizer), **ENDS, **SHAPE))
    with pytest.raises(ConvgymError, match=r"'llama'.*no output layer"):
        LanguageModelPolicy(LanguageModel.of(body, format))
