"""The learned customer's model: trained from scratch on conversations of its original.

Sellers of all kinds, from silent to all-knowing, and a small language model at several
temperatures, talk to the original; the model learns to say and to decide what it did. It is told
who the customer is and what stands on the label of what it is offered, and nothing of what it
feels: what else a decision hangs on it has to make out from the words. Every conversation is
learned from once. They are held chapter by chapter, so that a training that was interrupted goes on
from its last chapter.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache, partial
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import Any, TypeAlias

import torch
from torch import Tensor
from torch.nn import functional
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from convgym.agents.customers.format import (
    CUSTOMER_TOKENS,
    DECIDED,
    SAID_BY_CUSTOMER,
    SAID_BY_SELLER,
    CustomerFormat,
    Row,
    TraitFormat,
    is_token,
    traits,
)
from convgym.agents.customers.recorded import Recorded
from convgym.agents.model.memory import GiveBack
from convgym.agents.model.minibatches import shuffled
from convgym.agents.model.weights import load_trained_weights, trained_weights
from convgym.agents.pretrain import build_model, build_tokenizer
from convgym.agents.training import parallel
from convgym.agents.training.checkpoint import load_checkpoint, save_checkpoint
from convgym.agents.training.optim import Optimiser, warmup_then_cosine
from convgym.checks import check_fields
from convgym.conversation import Episode
from convgym.customers import customer_law
from convgym.datafiles import write_json
from convgym.errors import ConvgymError
from convgym.llm.local.conversion import write_folder
from convgym.policy import Policy
from convgym.progress import Progress, ProgressCallback, no_progress
from convgym.rollout import rollout
from convgym.seeds import train_seeds
from convgym.sellers import make_seller
from convgym.shop.catalog import Catalog, load_catalog, refuse_held_out

UNFINISHED = "training.safetensors"
"""What a training that was interrupted goes on from, in the model's folder."""
SEED_STREAM = 911_000_000
"""Seeds of the customers begin here, a million for each seed of a training."""
MIXTURE: tuple[tuple[str, Mapping[str, Any], float], ...] = (
    ("silent", {}, 0.02),
    ("random", {}, 0.10),
    ("always-closing", {}, 0.05),
    ("careless", {}, 0.10),
    ("mediocre", {}, 0.17),
    ("habitual", {}, 0.10),
    ("competent", {}, 0.13),
    ("oracle", {}, 0.10),
    ("hf:default", {"temperature": 1.0}, 0.10),
    ("hf:default", {"temperature": 0.5}, 0.04),
    ("hf:default", {"temperature": 0.25}, 0.05),
    ("hf:default", {"temperature": 1.5}, 0.04),
)
"""Sellers whom the original meets, their options, and their shares."""


Shares: TypeAlias = Sequence[tuple[str, Mapping[str, Any], float]]
"""Sellers by name, their options, and which share of the conversations they hold."""


@dataclass(frozen=True, slots=True)
class FittingConfig:
    """How a model is fitted to a customer's conversations.

    Raises:
        ConvgymError: for a value that cannot be.
    """

    context: int = 1024
    """Tokens of a conversation that are read; the rest is cut."""
    chapters: int = 12
    conversations: int = 2500
    """In each chapter."""
    strange: float = 0.1
    """Share of customers whose patience is not the population's (``Recorded``)."""
    minibatch: int = 16
    """Conversations per optimiser step."""
    learning_rate: float = 2e-3
    """Peak; rises linearly over the first 5% of the steps, then falls to 0 along a cosine."""
    weight_decay: float = 0.01
    max_gradient_norm: float = 1.0
    seller_weight: float = 0.2
    """Weight of a word of the seller's in the loss, a word of the customer's being 1."""
    decision_weight: float = 4.0
    """Weight of a decision. Weights that hang on the kind of a token alone leave the distribution
    that is fitted best as it is."""
    autocast: bool = True
    """Whether products are computed in bfloat16."""

    def __post_init__(self) -> None:
        check_fields(
            self,
            counts=("context", "chapters", "conversations", "minibatch"),
            shares=("strange",),
            from_zero=("seller_weight", "decision_weight", "learning_rate"),
            bounds=("max_gradient_norm",),
        )
        if self.conversations < 20:
            raise ConvgymError(
                f"a chapter needs at least 20 conversations, got {self.conversations}"
            )


@dataclass(frozen=True, slots=True)
class CustomerConfig(FittingConfig):
    """Shape of the learned customer's model and its training.

    Raises:
        ConvgymError: for a value that cannot be.
    """

    vocabulary: int = 1024
    hidden: int = 160
    layers: int = 4
    heads: int = 4
    key_value_heads: int = 2
    intermediate: int = 448

    def __post_init__(self) -> None:
        # Not by super(): the decorator makes another class of this one.
        FittingConfig.__post_init__(self)
        check_fields(self, counts=("layers", "heads"))


@dataclass(frozen=True, slots=True)
class Book:
    """The conversations of a training, chapter by chapter, each the same whenever it is opened.

    ``customer`` is the original by name, ``catalog`` its shop, ``seed`` that of the training,
    ``sellers`` who talk to it, None being ``MIXTURE``.
    """

    customer: str
    catalog: str
    config: FittingConfig
    seed: int
    sellers: Shares | None = None

    @property
    def law(self) -> str | None:
        """By which law the original buys."""
        return customer_law({"customer": self.customer})

    def chapter(self, number: int) -> list[Episode]:
        """Hold the conversations of a chapter, in random order."""
        size = self.config.conversations
        first = SEED_STREAM + 1_000_000 * self.seed + number
        seeds = iter(train_seeds(first, size))
        environment = {
            "customer": partial(Recorded, self.customer, self.config.strange),
            "catalog": self.catalog,
            "reveal_latent": True,
        }
        episodes: list[Episode] = []
        sellers = self.sellers or MIXTURE
        for (spec, options, _), count in zip(sellers, _counts(sellers, size), strict=True):
            part = list(islice(seeds, count))
            seller = _seller(spec, self.catalog, self.law, tuple(options.items()))
            episodes += rollout(seller, part, environment=environment, policy_seed=number)
        order = shuffled(len(episodes), torch.Generator().manual_seed(first))
        return [episodes[i] for i in order if episodes[i].valid]


@lru_cache(maxsize=16)
def _seller(
    spec: str, catalog: str, law: str | None, options: tuple[tuple[str, Any], ...]
) -> Policy:
    """Return a seller; one that is a language model is loaded once for all chapters."""
    return make_seller(spec, catalog, law, **dict(options))


def book_facts(book: Book, shop: Catalog, original: str) -> dict[str, Any]:
    """Return what a recipe tells of the conversations that were learned from.

    Args:
        book: the conversations.
        shop: its catalogue.
        original: the fingerprint of the customer.
    """
    return {
        "customer": book.customer,
        "law": book.law,
        "catalog": shop.name,
        "currency": shop.currency,
        "leaflet": shop.inventory(),
        "original": original,
        "config": asdict(book.config),
        "seed": book.seed,
        "conversations": book.config.chapters * book.config.conversations,
        "sellers": [
            [spec, dict(options), share] for spec, options, share in book.sellers or MIXTURE
        ],
    }


def _counts(sellers: Shares, size: int) -> list[int]:
    """Return how many of so many conversations each seller of a mixture holds."""
    counts = [round(share * size) for _, _, share in sellers]
    most = max(range(len(counts)), key=counts.__getitem__)
    counts[most] += size - sum(counts)
    return counts


def build_customer_tokenizer(
    episodes: Sequence[Episode], vocabulary: int, currency: str
) -> PreTrainedTokenizerFast:
    """Return a tokenizer for conversations like these, with a token for every trait in them."""
    told = {
        trait for episode in episodes for trait in traits(episode.metadata["profile"], currency)
    }
    texts = [message["content"] for episode in episodes for message in episode.messages()]
    texts += [trait for trait in sorted(told) if not is_token(trait)] * 20
    special = [*CUSTOMER_TOKENS, *sorted(filter(is_token, told))]
    return build_tokenizer(texts, vocabulary, special)


def pretrain_customer(
    folder: Path,
    *,
    customer: str = "scripted",
    catalog: str = "laptops",
    seed: int = 0,
    config: CustomerConfig | None = None,
    progress: ProgressCallback = no_progress,
) -> dict[str, Any]:
    """Fit a model to a customer and write it to ``folder`` in float16; return its recipe.

    A training that was interrupted goes on from its last chapter in ``folder``, with the same
    conversations and steps. The same arguments give the same weights but for rounding, which hangs
    on where tensors lie in memory. ``recipe.json`` beside the model names everything that it was
    made from, and the hash of the weights.

    Args:
        folder: where the model goes, in Hugging Face format.
        customer: the original, by name: ``"scripted"`` or ``"shopper"``, or another whose
            ``profile`` is a dataclass.
        catalog: its shop, by name or file.
        seed: of customers, sellers and initial weights.
        config: shape and training; the shipped model's if None.
        progress: told after every optimiser step.

    Raises:
        ConvgymError: for a catalogue that is reserved for evaluation, or a checkpoint that is
            damaged or of other settings.
    """
    config = config or CustomerConfig()
    parallel.join()
    refuse_held_out({"catalog": catalog})
    shop = load_catalog(catalog)
    book = Book(customer, catalog, config, seed)
    announce(book, folder / UNFINISHED, progress)
    beginning = book.chapter(0)
    tokenizer = build_customer_tokenizer(beginning, config.vocabulary, shop.currency)
    network = build_model(config, tokenizer, seed)
    format = TraitFormat(tokenizer, shop.currency)
    train(network, format, book, beginning, folder / UNFINISHED, progress)

    def keep() -> dict[str, Any]:
        folder.mkdir(parents=True, exist_ok=True)
        write_folder(network.half(), tokenizer, folder)
        held_out = rows(book.chapter(config.chapters), format, shop, config.context)
        weights = (folder / "model.safetensors").read_bytes()
        recipe = {
            **book_facts(book, shop, beginning[0].customer),
            "parameters": sum(parameter.numel() for parameter in network.parameters()),
            **losses_by_kind(network.float(), held_out, format.pad_id),
            "weights_sha256": hashlib.sha256(weights).hexdigest(),
            "versions": {name: version(name) for name in ("torch", "transformers", "tokenizers")},
        }
        write_recipe(recipe, folder)
        return recipe

    return parallel.on_first(keep)


def write_recipe(recipe: Mapping[str, Any], folder: Path) -> None:
    """Write what a model was made from beside it, which ends its training."""
    write_json(folder / "recipe.json", recipe)
    (folder / UNFINISHED).unlink(missing_ok=True)


def rows(
    episodes: Sequence[Episode], format: CustomerFormat, catalog: Catalog, context: int
) -> list[Row]:
    """Return conversations in a shop as rows of tokens; those that outgrow the context are cut."""
    read = [format.row(episode, episode.metadata["profile"], catalog) for episode in episodes]
    return [Row(row.ids[:context], row.kinds[:context]) for row in read]


def announce(book: Book, checkpoint: Path, progress: ProgressCallback) -> None:
    """Tell at once from which chapter a training begins or goes on, and how many are left.

    What was learned of a chapter that was interrupted is not kept: it is learned from anew.
    """
    done = load_checkpoint(checkpoint)["chapters"] if checkpoint.exists() else 0
    chapters = book.config.chapters
    how = "goes on with" if checkpoint.exists() else "begins with"
    stage = f"{how} chapter {done + 1} of {chapters}" if done < chapters else "writes the customer"
    progress(Progress(stage, 0, max(1, chapters - done)))


def train(
    network: PreTrainedModel,
    format: CustomerFormat,
    book: Book,
    beginning: Sequence[Episode],
    checkpoint: Path,
    progress: ProgressCallback,
) -> None:
    """Train what of a model is trained, in place, from its last checkpoint if there is one.

    Args:
        network: the model, some of its weights frozen or none.
        format: how conversations become tokens for it.
        book: the conversations, and how they are learned from.
        beginning: the book's first chapter.
        checkpoint: the file, written after every chapter.
        progress: told after every optimiser step.

    Raises:
        ConvgymError: for a checkpoint that is damaged or of other settings.
    """
    config = book.config
    optimiser = Optimiser(
        [parameter for parameter in network.parameters() if parameter.requires_grad],
        config.learning_rate,
        config.max_gradient_norm,
        weight_decay=config.weight_decay,
    )
    done, run = 0, {**asdict(book), "config": asdict(config)}
    if checkpoint.exists():
        state = load_checkpoint(checkpoint)
        if state["run"] != run:
            raise ConvgymError(
                f"{checkpoint} is of a training with other settings: use another folder, or delete"
                " it to start anew"
            )
        load_trained_weights(network, state["model"])
        optimiser.load_state(state["optimiser"])
        done = state["chapters"]
    weights = _weights(config, network.device)
    each = -(-config.conversations // config.minibatch)
    steps = config.chapters * each
    give_back = GiveBack(every=60.0)
    for number in range(done, config.chapters):
        episodes = beginning if number == 0 else book.chapter(number)
        parts = _minibatches(
            rows(episodes, format, load_catalog(book.catalog), config.context), config.minibatch
        )
        for number_of_step, part in enumerate(parts, start=number * each):
            optimiser.schedule(warmup_then_cosine(number_of_step, steps))
            told = step(network, optimiser, part, format.pad_id, weights, config.autocast)
            give_back()
            progress(Progress("train", number_of_step + 1, steps, told))
        if parallel.number() == 0:
            save_checkpoint(
                checkpoint,
                {
                    "run": run,
                    "model": trained_weights(network),
                    "optimiser": optimiser.state(),
                    "chapters": number + 1,
                },
            )


def step(
    network: PreTrainedModel,
    optimiser: Optimiser,
    part: Sequence[Row],
    pad_id: int,
    weights: Tensor,
    autocast: bool,
) -> dict[str, float]:
    """Take a step on a minibatch; return its weighted mean loss, and that of its decisions.

    Processes share it (``training.parallel``).

    Args:
        network: the model.
        optimiser: of what is trained of it.
        part: the conversations.
        pad_id: what rows are padded with.
        weights: (4,), of each kind of token; those of weight 0 are not computed.
        autocast: whether products are computed in bfloat16.
    """
    learned = [kind for kind, weight in enumerate(weights.tolist()) if weight > 0]
    kinds = torch.tensor([kind for row in part for kind in row.kinds[1:]], device=weights.device)
    weight, decisions = weights[kinds].sum(), (kinds == DECIDED).sum()

    def terms(share: slice) -> list[Tensor]:
        losses, kinds = token_losses(network, part[share], pad_id, learned, autocast)
        return [(weights[kinds] * losses).sum() / weight, losses[kinds == DECIDED].sum()]

    loss, decided = optimiser.add_up(len(part), terms)
    optimiser.update()
    return {"loss": loss.item(), "decision": (decided / decisions).item()}


def _minibatches(read: Sequence[Row], size: int) -> Iterator[list[Row]]:
    """Yield rows in parts: of every eight parts those alike in length stand together."""
    pool = 8 * size
    for start in range(0, len(read), pool):
        alike = sorted(read[start : start + pool], key=lambda row: len(row.ids))
        parts = [alike[i : i + size] for i in range(0, len(alike), size)]
        # Not from short to long: a step is in turn of all lengths.
        yield from (*parts[::2], *parts[1::2])


def _weights(config: FittingConfig, device: torch.device) -> Tensor:
    """Return the weight (4,) of each kind of token in the loss."""
    weights = torch.zeros(4, device=device)
    weights[SAID_BY_SELLER] = config.seller_weight
    weights[SAID_BY_CUSTOMER] = 1.0
    weights[DECIDED] = config.decision_weight
    return weights


def token_losses(
    network: PreTrainedModel,
    part: Sequence[Row],
    pad_id: int,
    of: Sequence[int] = (SAID_BY_SELLER, SAID_BY_CUSTOMER, DECIDED),
    autocast: bool = True,
) -> tuple[Tensor, Tensor]:
    """Return the loss in nats (N,) of every token of these kinds, and its kind (N,).

    Args:
        network: the model.
        part: conversations.
        pad_id: what rows are padded with.
        of: kinds of tokens.
        autocast: whether products are computed in bfloat16.
    """
    width = max(len(row.ids) for row in part)
    ids = torch.tensor(
        [[*row.ids, *[pad_id] * (width - len(row.ids))] for row in part], device=network.device
    )
    kinds = torch.tensor(
        [[*row.kinds, *[0] * (width - len(row.kinds))] for row in part], device=network.device
    )
    wanted = torch.isin(kinds[:, 1:], torch.tensor(of, device=network.device))
    body: Any = network.base_model
    with torch.autocast(network.device.type, dtype=torch.bfloat16, enabled=autocast):
        hidden = body(input_ids=ids, use_cache=False).last_hidden_state[:, :-1][wanted]
        logits = network.get_output_embeddings()(hidden)
    losses = functional.cross_entropy(logits.float(), ids[:, 1:][wanted], reduction="none")
    return losses, kinds[:, 1:][wanted]


@torch.inference_mode()
def losses_by_kind(
    network: PreTrainedModel, read: Sequence[Row], pad_id: int, size: int = 64
) -> dict[str, float]:
    """Return the mean losses on conversations that were not learned from, in nats."""
    parts = [token_losses(network, read[i : i + size], pad_id) for i in range(0, len(read), size)]
    losses, kinds = (torch.cat(column) for column in zip(*parts, strict=True))
    return {
        f"held_out_nats_per_{name}": round(float(losses[kinds == kind].mean()), 4)
        for name, kind in (
            ("customer_token", SAID_BY_CUSTOMER),
            ("decision", DECIDED),
            ("seller_token", SAID_BY_SELLER),
        )
    }
