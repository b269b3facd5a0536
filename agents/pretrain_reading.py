"""The reading seller: a small language model that looks everything up in its shop's leaflet.

Trained from scratch: first on drills in looking up (``convgym.agents.reading_drills``), then on
sellers with habits that say their look-ups aloud (``convgym.sellers.habitual``), each step in a
shop that comes once and never again (``convgym.shop.generator``), with customers of both
populations. What holds in one shop holds in no other, so that the leaflet at the beginning of the
prompt is all that helps. Words keep the random embeddings with which they begin: one that was
never met is looked up like any other.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor
from torch.nn import functional
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

from convgym.agents.model.batch import TokenisedEpisode, collate, tokenise
from convgym.agents.model.copying import begin_by_copying
from convgym.agents.model.format import PAD
from convgym.agents.model.forward import read, word_logits
from convgym.agents.model.reading import ReadingFormat, free_places
from convgym.agents.model.word_embeddings import embed_as_one_kind, embed_numbers
from convgym.agents.reading_drills import drill
from convgym.agents.reading_vocabulary import (
    build_reading_tokenizer,
    fillers,
    known_words,
    numbers_of,
)
from convgym.agents.training.checkpoint import load_checkpoint, save_checkpoint
from convgym.agents.training.collector import Collector
from convgym.agents.training.optim import Optimiser, warmup_then_cosine
from convgym.checks import check_fields
from convgym.datafiles import write_json
from convgym.errors import ConvgymError
from convgym.llm.local.loading import without_progress_bars
from convgym.progress import Progress, ProgressCallback, no_progress
from convgym.sellers import make_seller
from convgym.shop.generator import random_catalog, talkative

UNFINISHED = "training.safetensors"
"""What a training that was interrupted goes on from, in the model's folder."""
POPULATIONS = ("default", "difficult")
_SHOPS = 10_000_000
"""Shops for each seed of a training."""
_CHECKPOINT = 50
"""Steps from one checkpoint to the next."""


@dataclass(frozen=True, slots=True)
class ReadingConfig:
    """Shape of the reading seller and its training.

    Raises:
        ConvgymError: for a value that cannot be.
    """

    hidden: int = 192
    layers: int = 4
    heads: int = 4
    head_size: int = 64
    intermediate: int = 512
    context: int = 2048
    rope_theta: float = 1e8
    """So large that most of a head's dimensions turn too slowly to tell positions: they compare
    words, however far apart."""
    practice: int = 600
    """Steps of drills alone, before the others."""
    practised: int = 6
    """Drills in each of these steps."""
    steps: int = 4200
    """Of conversations and drills."""
    conversations: int = 8
    """In each of these steps."""
    drills: int = 3
    """Beside them."""
    small: int = 300
    """Steps, the first ones, that are in small shops."""
    learning_rate: float = 1e-3
    """Peak; rises linearly over the first 5% of the steps, then falls to 0 along a cosine."""
    weight_decay: float = 0.01
    max_gradient_norm: float = 1.0
    customer_weight: float = 0.1
    """Weight of the mean loss on customers' words, that on the seller's being 1."""

    def __post_init__(self) -> None:
        check_fields(
            self,
            counts=("layers", "heads", "head_size", "steps", "conversations", "practised"),
            counts_from_zero=("practice", "drills", "small"),
            from_zero=("customer_weight", "learning_rate"),
            bounds=("max_gradient_norm",),
        )


def build_reading_model(
    config: ReadingConfig, tokenizer: PreTrainedTokenizerFast, seed: int
) -> PreTrainedModel:
    """Return a model that has learned nothing yet, but begins by copying."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = LlamaForCausalLM(
            LlamaConfig(
                vocab_size=len(tokenizer),
                hidden_size=config.hidden,
                intermediate_size=config.intermediate,
                num_hidden_layers=config.layers,
                num_attention_heads=config.heads,
                num_key_value_heads=config.heads,
                head_dim=config.head_size,
                max_position_embeddings=config.context,
                rope_parameters={"rope_type": "default", "rope_theta": config.rope_theta},
                attention_bias=True,
                tie_word_embeddings=True,
                pad_token_id=tokenizer.pad_token_id,
                eos_token_id=tokenizer.eos_token_id,
                bos_token_id=None,
            )
        )
        begin_by_copying(network)
        embeddings = cast(Tensor, network.get_input_embeddings().weight)
        embed_numbers(embeddings, numbers_of(tokenizer))
        embed_as_one_kind(embeddings, free_places(tokenizer))
    embeddings.requires_grad_(False)
    return network


@dataclass(frozen=True, slots=True)
class Lesson:
    """What was said in one shop, and where (in tokens) the leaflet ends that all of it begins with.

    Drills stand before conversations.
    """

    episodes: list[TokenisedEpisode]
    leaflet: int


def lesson(
    tokenizer: PreTrainedTokenizerFast, config: ReadingConfig, shop: int, step: int
) -> Lesson:
    """Hold the drills and the conversations of a step, in a shop of its own.

    Args:
        tokenizer: of the model.
        config: settings of the training.
        shop: seed of the shop, and of all that is said in it.
        step: number of the step: steps with odd ones have customers that are difficult.
    """
    rng = random.Random(f"lesson/{shop}")
    catalog = talkative(random_catalog(shop, small=step < config.small), fillers(), rng)
    practising = step < config.practice
    drills = config.practised if practising else config.drills
    episodes = [drill(catalog, known_words(), rng) for _ in range(drills)]
    if not practising:
        environment = {"catalog": catalog, "personas": POPULATIONS[step % len(POPULATIONS)]}
        collector = Collector(config.conversations, seed=shop, environment=environment)
        episodes += collector.logged(make_seller("habitual", catalog, reads=True))
    format = ReadingFormat(tokenizer)
    return Lesson(
        [tokenise(episode, format, context=config.context) for episode in episodes],
        format.about(catalog.leaflet()).overhead - 1,  # but for the seller's mark
    )


def pretrain_reading(
    folder: Path,
    *,
    seed: int = 0,
    config: ReadingConfig | None = None,
    progress: ProgressCallback = no_progress,
) -> dict[str, Any]:
    """Train the reading seller and write it to ``folder`` in float16; return its recipe.

    A training that was interrupted goes on from its last checkpoint in ``folder``, and ends as it
    would have. The same arguments give the same weights on one machine. ``recipe.json`` beside the
    model names everything that it was made from, and the hash of the weights.

    Args:
        folder: where the model goes, in Hugging Face format.
        seed: of shops, customers and initial weights.
        config: shape and training; the shipped model's if None.
        progress: told after every optimiser step.

    Raises:
        ConvgymError: for a checkpoint that is damaged, or of other settings.
    """
    config = config or ReadingConfig()
    tokenizer = build_reading_tokenizer()
    network = build_reading_model(config, tokenizer, seed)
    _train(network, tokenizer, config, seed, folder / UNFINISHED, progress)
    folder.mkdir(parents=True, exist_ok=True)
    with without_progress_bars():
        network.half().save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    losses = _judge(network.float(), tokenizer, config, seed)
    recipe = {
        "config": asdict(config),
        "seed": seed,
        "behaviour_policy": "habitual",
        "conversations": config.steps * config.conversations,
        "drills": config.practice * config.practised + config.steps * config.drills,
        "shops": config.practice + config.steps,
        "populations": list(POPULATIONS),
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
        **losses,
        "weights_sha256": hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest(),
        "versions": {name: version(name) for name in ("torch", "transformers", "tokenizers")},
    }
    write_json(folder / "recipe.json", recipe)
    (folder / UNFINISHED).unlink(missing_ok=True)
    return recipe


def _train(
    network: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    config: ReadingConfig,
    seed: int,
    checkpoint: Path,
    progress: ProgressCallback,
) -> None:
    """Train a model in place, from its last checkpoint if there is one."""
    optimiser = Optimiser(
        [parameter for parameter in network.parameters() if parameter.requires_grad],
        config.learning_rate,
        config.max_gradient_norm,
        weight_decay=config.weight_decay,
    )
    done, run = 0, {"seed": seed, "config": asdict(config)}
    if checkpoint.exists():
        state = load_checkpoint(checkpoint)
        if state["run"] != run:
            raise ConvgymError(
                f"{checkpoint} is of a training with other settings: use another folder, or delete"
                " it to start anew"
            )
        network.load_state_dict(state["model"])
        optimiser.load_state(state["optimiser"])
        done = state["step"]
    total = config.practice + config.steps
    for step in range(done, total):
        here = lesson(tokenizer, config, _SHOPS * (2 * seed) + step, step)
        seller, customer = lesson_losses(network, here, _pad_id(tokenizer))
        optimiser.schedule(warmup_then_cosine(step, total))
        optimiser.step(seller + config.customer_weight * customer)
        metrics = {"loss": seller.item(), "customer": customer.item()}
        if (step + 1) % _CHECKPOINT == 0:
            save_checkpoint(
                checkpoint,
                {
                    "run": run,
                    "model": network.state_dict(),
                    "optimiser": optimiser.state(),
                    "step": step + 1,
                },
            )
        progress(Progress("train", step + 1, total, metrics))


def lesson_losses(network: PreTrainedModel, lesson: Lesson, pad_id: int) -> tuple[Tensor, Tensor]:
    """Return mean losses, in nats a token: on the seller's words, and on the customers'.

    Args:
        network: the model.
        lesson: conversations in one shop.
        pad_id: token that fills up rows.
    """
    batch = collate(lesson.episodes, pad_id, device=network.device)
    targets = batch.ids[:, 1:]
    hidden = read(cast("PreTrainedModel", network.base_model), batch.ids)[:, :-1]
    seller = batch.response[:, 1:]
    customer = batch.present[:, 1:] & ~seller
    customer[:, : lesson.leaflet - 1] = False

    def loss(chosen: Tensor) -> Tensor:
        return functional.cross_entropy(word_logits(network, hidden[chosen]), targets[chosen])

    return loss(seller), loss(customer)


def _pad_id(tokenizer: PreTrainedTokenizerFast) -> int:
    return cast(int, tokenizer.convert_tokens_to_ids(PAD))


def held_out_shops(seed: int) -> Iterator[int]:
    """Return the seeds of shops that the training of a seed does not meet."""
    first = _SHOPS * (2 * seed + 1)
    return iter(range(first, first + _SHOPS))


@torch.inference_mode()
def _judge(
    network: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, config: ReadingConfig, seed: int
) -> dict[str, float]:
    """Return the losses in shops that were not trained in, all of full size."""
    shops = held_out_shops(seed)
    rows = []
    for number in range(len(POPULATIONS) * 4):
        here = lesson(tokenizer, config, next(shops), config.practice + config.steps + number)
        rows.append([loss.item() for loss in lesson_losses(network, here, _pad_id(tokenizer))])
    seller, customer = (sum(column) / len(rows) for column in zip(*rows, strict=True))
    return {
        "held_out_nats_per_seller_token": round(seller, 4),
        "held_out_nats_per_customer_token": round(customer, 4),
    }
