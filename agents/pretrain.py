"""The default seller: a small Llama-shaped language model, trained on logged conversations.

A byte-level BPE tokenizer and a causal language model are trained from scratch on conversations
that the mediocre scripted seller held. The model learns both sides' words, so that the critics
that start from it know customers too; as a policy it speaks the seller's.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import Tensor
from torch.nn import functional
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

from convgym.agents.model.batch import TokenisedEpisode, collate, tokenise
from convgym.agents.model.format import COMPACT_TOKENS, compact_format
from convgym.agents.model.minibatches import shuffled
from convgym.agents.model.own_tokenizer import wrapped
from convgym.agents.training.collector import Collector
from convgym.agents.training.optim import Optimiser, warmup_then_cosine
from convgym.conversation import Episode
from convgym.customers import customer_law
from convgym.datafiles import write_json
from convgym.errors import ConvgymError
from convgym.llm.local.loading import without_progress_bars
from convgym.progress import Progress, ProgressCallback, no_progress
from convgym.sellers import make_seller
from convgym.shop.catalog import Catalog

HELD_OUT = 0.05
"""Share of the conversations on which the final loss is measured."""


@dataclass(frozen=True, slots=True)
class PretrainConfig:
    """Shape of the model and its training."""

    vocabulary: int = 768
    hidden: int = 128
    layers: int = 3
    heads: int = 4
    key_value_heads: int = 1
    intermediate: int = 384
    context: int = 1024
    epochs: int = 3
    minibatch: int = 16
    """Conversations per optimiser step."""
    learning_rate: float = 2e-3
    """Peak; rises linearly over the first 5% of the steps, then falls to 0 along a cosine."""
    weight_decay: float = 0.01
    max_gradient_norm: float = 1.0


def build_tokenizer(
    texts: Iterator[str] | Sequence[str],
    vocabulary: int,
    special: Sequence[str] = COMPACT_TOKENS,
) -> PreTrainedTokenizerFast:
    """Return a byte-level BPE tokenizer trained on ``texts``, with special tokens of its own.

    A word has the same id at the start of an utterance as within it, and a number is split from
    what surrounds it, so that round prices become single tokens.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=list(special),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return wrapped(tokenizer, special)


class Shape(Protocol):
    """The shape of a small Llama, as configs of trainings have it."""

    @property
    def hidden(self) -> int: ...
    @property
    def intermediate(self) -> int: ...
    @property
    def layers(self) -> int: ...
    @property
    def heads(self) -> int: ...
    @property
    def key_value_heads(self) -> int: ...
    @property
    def context(self) -> int: ...


def build_model(config: Shape, tokenizer: PreTrainedTokenizerFast, seed: int) -> PreTrainedModel:
    """Return an untrained model of the configured shape for a tokenizer."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return LlamaForCausalLM(
            LlamaConfig(
                vocab_size=len(tokenizer),
                hidden_size=config.hidden,
                intermediate_size=config.intermediate,
                num_hidden_layers=config.layers,
                num_attention_heads=config.heads,
                num_key_value_heads=config.key_value_heads,
                max_position_embeddings=config.context,
                tie_word_embeddings=True,
                pad_token_id=tokenizer.pad_token_id,
                eos_token_id=tokenizer.eos_token_id,
                bos_token_id=None,
            )
        )


def pretrain(
    folder: Path,
    *,
    conversations: int = 8000,
    seed: int = 0,
    config: PretrainConfig | None = None,
    environment: Mapping[str, Any] | None = None,
    seller: str = "mediocre",
    progress: ProgressCallback = no_progress,
) -> dict[str, Any]:
    """Train the default seller on fresh logs and write it to ``folder``; return its recipe.

    The same arguments give the same weights on one machine. ``recipe.json`` beside the model
    names everything that it was made from, and the hash of the weights.

    Args:
        folder: where the model goes, in Hugging Face format.
        conversations: how many the seller holds, at least 20.
        seed: of customers, initial weights and the order of training.
        config: shape and training; the shipped model's if None.
        environment: options of ``SalesEnv``.
        seller: who holds them, in the form for the environment's customers.
        progress: told as the logs are written and after every optimiser step.

    Raises:
        ConvgymError: for too few conversations, or a catalogue that is reserved for evaluation.
    """
    config = config or PretrainConfig()
    if conversations < 20:
        raise ConvgymError(f"pretraining needs at least 20 conversations, got {conversations}")
    collector = Collector(conversations, seed=seed, environment=environment)
    shop: str | Path | Catalog = collector.environment.get("catalog") or "laptops"
    speaker = make_seller(seller, shop, customer_law(collector.environment))
    episodes = collector.logged(speaker, progress=progress)
    texts = [message["content"] for episode in episodes for message in episode.messages()]
    tokenizer = build_tokenizer(texts, config.vocabulary)
    format = compact_format(tokenizer)
    network = build_model(config, tokenizer, seed)
    tokenised = [
        tokenise(episode, format, context=config.context) for episode in episodes if episode.valid
    ]
    data = [episode for episode in tokenised if episode.n_turns]
    held_out = data[: max(1, int(HELD_OUT * len(data)))]
    _train(network, data[len(held_out) :], config, format.pad_id, seed, progress)

    folder.mkdir(parents=True, exist_ok=True)
    with without_progress_bars():
        network.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    with torch.inference_mode():
        losses, response = _losses(network, held_out, format.pad_id)
    recipe = {
        "config": asdict(config),
        "seed": seed,
        "conversations": conversations,
        "behaviour_policy": speaker.name,
        "customer": episodes[0].customer,
        "log_sha256": _fingerprint(episodes),
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
        "held_out_nats_per_token": round(float(losses.mean()), 4),
        "held_out_nats_per_seller_token": round(float(losses[response].mean()), 4),
        "weights_sha256": hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest(),
        "versions": {name: version(name) for name in ("torch", "transformers", "tokenizers")},
    }
    write_json(folder / "recipe.json", recipe)
    return recipe


def _train(
    network: PreTrainedModel,
    training: Sequence[TokenisedEpisode],
    config: PretrainConfig,
    pad_id: int,
    seed: int,
    progress: ProgressCallback,
) -> None:
    """Train a model on both sides' words, in place."""
    steps = config.epochs * math.ceil(len(training) / config.minibatch)
    optimiser = Optimiser(
        network.parameters(),
        config.learning_rate,
        config.max_gradient_norm,
        weight_decay=config.weight_decay,
    )
    generator = torch.Generator().manual_seed(seed)
    step = 0
    for _ in range(config.epochs):
        order = shuffled(len(training), generator)
        for start in range(0, len(order), config.minibatch):
            part = [training[i] for i in order[start : start + config.minibatch]]
            losses, _ = _losses(network, part, pad_id)
            loss = losses.mean()
            optimiser.schedule(warmup_then_cosine(step, steps))
            optimiser.step(loss)
            step += 1
            progress(Progress("train", step, steps, {"loss": loss.item()}))


def _losses(
    network: PreTrainedModel, episodes: Sequence[TokenisedEpisode], pad_id: int
) -> tuple[Tensor, Tensor]:
    """Return the loss in nats (N,) of every token but the first, and whether the seller's (N,)."""
    batch = collate(episodes, pad_id, device=network.device)
    present = batch.present
    logits = network(input_ids=batch.ids, use_cache=False).logits[:, :-1][present[:, 1:]]
    losses = functional.cross_entropy(logits, batch.ids[:, 1:][present[:, 1:]], reduction="none")
    return losses, batch.response[:, 1:][present[:, 1:]]


def _fingerprint(episodes: Sequence[Episode]) -> str:
    """Return a hash of the words of all conversations."""
    digest = hashlib.sha256()
    for episode in episodes:
        digest.update(json.dumps([episode.messages(), episode.outcome]).encode())
    return digest.hexdigest()
