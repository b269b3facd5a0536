"""A model that plays customers: read from its folder, and sampled for many at a time."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from random import Random
from typing import Any

import torch
from transformers import PreTrainedModel

from convgym.agents.customers.format import CustomerFormat
from convgym.agents.model.context import usable_context
from convgym.agents.model.format import Tokens
from convgym.agents.model.generation import Prompt, ResponseSampler
from convgym.agents.model.sampling import SamplingConfig
from convgym.errors import ConvgymError
from convgym.llm.local.devices import find_device
from convgym.llm.local.loading import load_folder, refusing

SHIPPED = {"default": Path(__file__).parent / "checkpoints" / "scripted-laptops"}
"""The models that come with the package, by name."""
LONGEST_REPLY = 64
"""Tokens, decision and end included."""


class Voice:
    """A model, how it is sampled, and what it was made from.

    Args:
        folder: of the model, in Hugging Face format, with its recipe.
        temperature: of sampling.
        device: where it computes.

    Attributes:
        recipe: what the model was made from.
        format: how conversations become tokens.
        digest: of weights and temperature.

    Raises:
        ConvgymError: when there is no such model or device, or it plays no customer.
    """

    def __init__(self, folder: Path, temperature: float, device: str) -> None:
        recipe = folder / "recipe.json"
        if not (folder / "config.json").is_file() or not recipe.is_file():
            raise ConvgymError(
                f"no learned customer at {str(folder)!r}: make one with"
                " `convgym pretrain DIR --kind customer`, and name its folder as the option model"
            )
        network, tokenizer = load_folder(folder)
        with refusing(f"the recipe {recipe} cannot be read"):
            self.recipe: Mapping[str, Any] = json.loads(recipe.read_bytes())
            currency = str(self.recipe["currency"])
        self.format = CustomerFormat(tokenizer, currency)
        self.network: PreTrainedModel = network.eval()
        self.network.to(find_device(device))  # type: ignore[arg-type]  # wrapped untyped
        self._room = usable_context(network.config) - LONGEST_REPLY
        self._sampler = ResponseSampler(
            self.network, self.format, SamplingConfig(temperature, LONGEST_REPLY)
        )
        weights = hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
        self.digest = hashlib.sha256(f"{weights}/{temperature}".encode()).hexdigest()[:12]

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
        """Return the ids of a reply to each prompt, drawn from the prompt's own stream."""
        return [sample.token_ids for sample in self._sampler.sample(prompts, streams)]


@lru_cache(maxsize=8)
def voice(model: str, temperature: float = 1.0, device: str = "cpu") -> Voice:
    """Return the voice of a model by name or folder, one for all customers that speak with it."""
    return Voice(SHIPPED.get(model, Path(model)), temperature, device)
