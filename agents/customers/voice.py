"""A model that plays customers: read from its folder, and sampled for many at a time."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from random import Random
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel

from convgym.agents.customers.adapter import (
    ADAPTER,
    MERGED,
    RECIPE,
    load_customer,
    read_recipe,
    weights_digest,
    write_merged,
)
from convgym.agents.customers.format import CustomerFormat, TraitFormat, WordsFormat
from convgym.agents.customers.gguf_file import write_gguf
from convgym.agents.model.context import usable_context
from convgym.agents.model.devices import BatchSizes, cache_bytes, frozen_dtype
from convgym.agents.model.format import Tokens
from convgym.agents.model.generation import Prompt, ResponseSampler
from convgym.agents.model.sampling import SamplingConfig
from convgym.errors import ConvgymError
from convgym.llm.local.devices import Dtype, check_dtype, find_device
from convgym.llm.local.loading import refusing
from convgym.llm.local.smollm2 import NAME, gguf_file

_CHECKPOINTS = Path(__file__).parent / "checkpoints"
SHIPPED = {
    "default": _CHECKPOINTS / "scripted-laptops",
    "smollm2-shopper": _CHECKPOINTS / "smollm2-shopper",
}
"""The models that come with the package, by name."""
LONGEST_REPLY = 64
"""Tokens, decision and end included."""


class Voice:
    """A model, how it is sampled, and what it was made from.

    Args:
        folder: of the model, in Hugging Face format, with its recipe.
        temperature: of sampling.
        device: where it computes.
        dtype: how exactly, see ``LearnedCustomer``.

    Attributes:
        folder: as given.
        recipe: what the model was made from.
        format: how conversations become tokens.
        digest: of weights and temperature, and of how exactly it computes.

    Raises:
        ConvgymError: when there is no such model or device, or it plays no customer.
    """

    def __init__(self, folder: Path, temperature: float, device: str, dtype: Dtype) -> None:
        check_dtype(dtype)
        weights = [folder / name for name in (ADAPTER, MERGED) if (folder / name).is_file()]
        if not weights or not (folder / RECIPE).is_file():
            raise ConvgymError(
                f"no learned customer at {str(folder)!r}: give the folder of one;"
                " `convgym pretrain DIR --kind customer` makes one for the customer learned, with"
                " --base smollm2 one for smollm2-customer"
            )
        self.folder, self.recipe = folder, read_recipe(folder)
        network, tokenizer = load_customer(folder)
        with refusing(f"the recipe {folder / RECIPE} cannot be read"):
            self.format = format_of(self.recipe, tokenizer)
        place = find_device(device)
        nn.Module.to(network, device=place, dtype=frozen_dtype(dtype, place))
        self.network: PreTrainedModel = network.eval()
        self._suitable = BatchSizes.of(place, cache=cache_bytes(network)).generation
        self._room = usable_context(network.config) - LONGEST_REPLY
        sampling = SamplingConfig(temperature, LONGEST_REPLY)
        self._sampler = ResponseSampler(self.network, self.format, sampling)
        # Customers come in between two turns of the others: in a sampler of their own they neither
        # push these out of their places in the cache nor have them copied aside and back.
        self._opener = ResponseSampler(self.network, self.format, sampling)
        exactly = "/bfloat16" if network.dtype is torch.bfloat16 else ""
        digest = f"{weights_digest(folder)}/{temperature}{exactly}"
        self.digest = hashlib.sha256(digest.encode()).hexdigest()[:12]

    @property
    def batch_size(self) -> int:
        """How many customers memory holds at once."""
        return self._sampler.at_most(self._suitable)

    def prompt(self, who: Tokens, turns: Sequence[Tokens], heard: Tokens) -> Prompt:
        """Return what is read before a reply: who the customer is, and what was said.

        Of a conversation that outgrows the model's context the older half is forgotten.

        Args:
            who: the block of the profile and the customer's first words; the profile alone before
                these.
            turns: a block for each turn so far: the seller's words and the reply.
            heard: the block of the seller's last words; empty before the first.
        """
        history = (*who, *(token for turn in turns for token in turn))
        while len(history) + len(heard) > self._room and turns:
            turns = turns[len(turns) // 2 + 1 :]
            history = (*who, *(token for turn in turns for token in turn))
        return Prompt(history, heard) if heard else Prompt((), history)

    @torch.inference_mode()
    def reply(self, prompts: Sequence[Prompt], streams: Sequence[Random]) -> list[Tokens]:
        """Return the ids of a reply to each prompt, drawn from the prompt's own stream.

        Those of one call go on together or come in together.
        """
        if any(prompt.history for prompt in prompts):
            return [sample.token_ids for sample in self._sampler.sample(prompts, streams)]
        samples = self._opener.sample(prompts, streams)
        self._opener.forget()
        return [sample.token_ids for sample in samples]


def format_of(recipe: Mapping[str, Any], tokenizer: Any) -> CustomerFormat:
    """Return the format in which a customer of this recipe was fitted."""
    if "base" in recipe:
        return WordsFormat(tokenizer, recipe["currency"], recipe["personas"])
    return TraitFormat(tokenizer, recipe["currency"])


@lru_cache(maxsize=8)
def voice(
    model: str, temperature: float = 1.0, device: str = "cpu", dtype: Dtype = "float32"
) -> Voice:
    """Return the voice of a model by name or folder, one for all customers that speak with it."""
    return Voice(SHIPPED.get(model, Path(model)), temperature, device, dtype)


def merge(model: str, output: Path) -> int:
    """Write a chat model that plays customers as one model; return its parameters.

    Args:
        model: by name or folder, see ``voice``.
        output: a new folder, see ``write_merged``, or a new file that ends in ``.gguf``.

    Raises:
        ConvgymError: for a model that cannot be read, that is no chat model, or of which there
            is no GGUF file.
    """
    speaker = voice(model)
    if not isinstance(speaker.format, WordsFormat):
        raise ConvgymError(
            f"the customer {model!r} speaks in tokens of its own, which no server of chat models"
            " knows: merge one of `convgym pretrain DIR --kind customer --base smollm2`"
        )
    network, template = speaker.network, speaker.format.template
    if output.suffix != ".gguf":
        write_merged(network, speaker.format.tokenizer, template, speaker.folder, output)
    elif speaker.recipe["base"] != NAME:
        raise ConvgymError(
            f"a GGUF file is made of customers with the base {NAME!r}: merge {model!r} into a"
            " folder, of which llama.cpp's own converter makes one"
        )
    else:
        write_gguf(network, template, gguf_file(), output)
    return sum(parameter.numel() for parameter in network.parameters())
