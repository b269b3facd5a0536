"""A customer as adapters on a chat model: fitted as the learned customer is, but spoken in words.

The conversations are those of ``pretrain_customer``, of sellers of all kinds with the original, and
one kind more: a chat model that says what it likes, so that the customer has heard plain English
that no script knows. The model speaks English already; it learns whom it plays, what a
customer says, and when it buys or leaves (Hu et al. 2021, arXiv 2106.09685: ``agents.model.lora``).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from convgym.agents.customers.adapter import ADAPTER, base_digest, save_adapter
from convgym.agents.customers.format import WordsFormat
from convgym.agents.model.devices import frozen_dtype
from convgym.agents.model.lora import LoRA, add_lora
from convgym.agents.model.policy import load_network
from convgym.agents.pretrain_customer import (
    UNFINISHED,
    Book,
    FittingConfig,
    announce,
    book_facts,
    losses_by_kind,
    rows,
    train,
    write_recipe,
)
from convgym.agents.training import parallel
from convgym.checks import check_fields
from convgym.customers.personas import load_personas
from convgym.llm.local.devices import Dtype, find_device
from convgym.progress import ProgressCallback, no_progress
from convgym.shop.catalog import load_catalog, refuse_held_out

MIXTURE: tuple[tuple[str, Mapping[str, Any], float], ...] = (
    ("silent", {}, 0.02),
    ("random", {}, 0.08),
    ("always-closing", {}, 0.04),
    ("careless", {}, 0.15),
    ("mediocre", {}, 0.16),
    ("habitual", {}, 0.08),
    ("competent", {}, 0.19),
    ("oracle", {}, 0.10),
    ("hf:default", {"temperature": 1.0}, 0.09),
    ("hf:default", {"temperature": 0.5}, 0.04),
    ("hf:default", {"temperature": 1.5}, 0.03),
    ("smollm2", {"temperature": 1.0, "max_tokens": 24}, 0.02),
)
"""Sellers whom the original meets, their options, and their shares."""


@dataclass(frozen=True, slots=True)
class AdapterConfig(FittingConfig):
    """Shape of the adapters and their training.

    Raises:
        ConvgymError: for a value that cannot be.
    """

    chapters: int = 6
    conversations: int = 800
    minibatch: int = 8
    learning_rate: float = 1e-3
    weight_decay: float = 0.0
    seller_weight: float = 0.0
    decision_weight: float = 12.0
    rank: int = 16
    alpha: float = 32.0
    frozen: Dtype = "auto"
    """Number type of the weights that are not trained."""

    def __post_init__(self) -> None:
        FittingConfig.__post_init__(self)
        check_fields(self, counts=("rank",), positive=("alpha",))


def pretrain_adapter(
    folder: Path,
    *,
    base: str = "smollm2",
    customer: str = "shopper",
    catalog: str = "laptops",
    seed: int = 0,
    device: str = "cpu",
    config: AdapterConfig | None = None,
    progress: ProgressCallback = no_progress,
) -> dict[str, Any]:
    """Fit adapters on a chat model to a customer, write them to ``folder``; return their recipe.

    A training that was interrupted goes on from its last chapter in ``folder``, with the same
    conversations and steps. ``recipe.json`` beside the adapters, which are those of ``peft`` in
    float16, names everything that they were made from.

    Args:
        folder: where the adapters go.
        base: the chat model: ``"smollm2"``, or a folder in Hugging Face format.
        customer: the original, by name, see ``pretrain_customer``.
        catalog: its shop, by name or file.
        seed: of customers and sellers.
        device: where it computes.
        config: shape and training; those of the shipped adapters if None.
        progress: told after every optimiser step.

    Raises:
        ConvgymError: for a chat model that cannot be read or used, a catalogue that is reserved for
            evaluation, or a checkpoint that is damaged or of other settings.
    """
    config = config or AdapterConfig()
    parallel.join()
    refuse_held_out({"catalog": catalog})
    shop, place = load_catalog(catalog), find_device(device)
    digest = base_digest(base)
    network, tokenizer = load_network(base)
    personas = list(load_personas("default").personas)
    format = WordsFormat(tokenizer, shop.currency, personas)
    add_lora(network, LoRA(config.rank, config.alpha), frozen_dtype(config.frozen, place))
    network.to(place)  # type: ignore[arg-type]  # wrapped untyped
    book = Book(customer, catalog, config, seed, MIXTURE)
    announce(book, folder / UNFINISHED, progress)
    beginning = book.chapter(0)
    train(network.eval(), format, book, beginning, folder / UNFINISHED, progress)

    def keep() -> dict[str, Any]:
        save_adapter(network, base, folder)
        held_out = rows(book.chapter(config.chapters), format, shop, config.context)
        recipe = {
            "base": base,
            "base_sha256": digest,
            **book_facts(book, shop, beginning[0].customer),
            "personas": personas,
            "parameters": sum(each.numel() for each in network.parameters() if each.requires_grad),
            "bytes": (folder / ADAPTER).stat().st_size,
            **losses_by_kind(network, held_out, format.pad_id, config.minibatch),
            "weights_sha256": hashlib.sha256((folder / ADAPTER).read_bytes()).hexdigest(),
            "versions": {name: version(name) for name in ("torch", "transformers", "peft")},
        }
        write_recipe(recipe, folder)
        return recipe

    return parallel.on_first(keep)
