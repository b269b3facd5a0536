"""Language models in this process as sellers by name: ``"hf:FOLDER"`` and ``"smollm2"``."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from convgym.agents.model.config import PolicyConfig
from convgym.agents.model.policy import LanguageModelPolicy, saved_system_message
from convgym.llm.local.devices import Dtype
from convgym.sellers.prompt import seller_prompt
from convgym.shop.catalog import Catalog

MAX_TOKENS = 60
"""The longest answer where nothing else is said: one or two sentences."""


def folder_seller(
    folder: str,
    catalog: str | Path | Catalog = "laptops",
    *,
    prompt: str | None = None,
    temperature: float = 1.0,
    max_tokens: int = MAX_TOKENS,
    device: str = "auto",
    dtype: Dtype = "auto",
    law: str | None = None,
) -> LanguageModelPolicy:
    """Return the seller ``"hf:FOLDER"``: a language model on this machine.

    A policy of this package is told what it was trained with: nothing in the compact format, the
    system message beside the model otherwise. Any other chat model is told of the shop.

    Args:
        folder: a folder in Hugging Face format, with a chat template or this package's compact
            format; ``"default"``, the small model of the package; or ``"smollm2"``.
        catalog: what it sells, where it is told.
        prompt: the system message in place of these, see ``convgym.sellers.prompt.seller_prompt``.
        temperature: of sampling, positive.
        max_tokens: the longest answer, its end token included.
        device: ``cpu``, ``cuda``, ``cuda:1``, ``mps``, or ``auto``: a GPU where one is visible.
        dtype: ``float32``, ``bfloat16`` or ``auto``, as in ``PolicyConfig``.
        law: by which its customers buy (``convgym.customers.customer_law``).

    Raises:
        ConvgymError: when there is no such model or device, it cannot be used, or a value cannot
            be.
    """
    told = saved_system_message(folder) if prompt is None else None
    config = PolicyConfig(
        model=folder,
        temperature=temperature,
        max_new_tokens=max_tokens,
        system_message=seller_prompt(catalog, prompt, law) if told is None else told,
        device=device,
        dtype=dtype,
    )
    return LanguageModelPolicy.from_pretrained(folder, name=f"hf:{folder}", config=config)


smollm2 = partial(folder_seller, "smollm2")
