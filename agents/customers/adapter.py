"""A customer as adapters on a chat model: written, read, and added to its weights.

Files are those of ``peft``, so that whatever reads adapters reads these. ``recipe.json`` beside
them names the chat model that they belong to, and its digest: on another one they mean nothing.
"""

from __future__ import annotations

import copy
import hashlib
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from convgym.agents.model.lora import LoRA, add_lora, merged
from convgym.agents.model.policy import load_network, place_of
from convgym.errors import ConvgymError
from convgym.llm.local.conversion import write_folder
from convgym.llm.local.loading import files_digest, load_folder, refusing

ADAPTER, ADAPTER_CONFIG = "adapter_model.safetensors", "adapter_config.json"
"""The files of ``peft``."""
RECIPE = "recipe.json"
MERGED = "model.safetensors"
"""The weights of a model that has none."""
_PREFIX = "base_model.model."
"""What ``peft`` puts before the names of a model's weights."""


def base_digest(base: str) -> str:
    """Return a hash of a chat model's weights; ConvgymError where there are none."""
    place = place_of(base)
    files = [place] if place.is_file() else sorted(place.glob("*.safetensors"))
    if not files:
        raise ConvgymError(
            f"no chat model at {base!r}: expected 'smollm2' or a folder in Hugging Face format"
        )
    return files_digest(files)


def save_adapter(network: PreTrainedModel, base: str, folder: Path) -> None:
    """Write a model's adapters to a folder, in float16.

    Args:
        network: with adapters (``convgym.agents.model.lora``).
        base: the name of the model without them.
        folder: which is made.
    """
    from peft import LoraConfig, get_peft_model_state_dict
    from safetensors.torch import save_file

    settings: Mapping[str, Any] = network.peft_config
    config = cast("LoraConfig", settings["default"])
    config.base_model_name_or_path, config.inference_mode = base, True
    folder.mkdir(parents=True, exist_ok=True)
    config.save_pretrained(str(folder))
    weights = get_peft_model_state_dict(network)
    save_file(
        {f"{_PREFIX}{name}": weight.half().contiguous() for name, weight in weights.items()},
        folder / ADAPTER,
    )


def load_customer(folder: Path) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Return network (float32, on the CPU) and tokenizer of a customer's folder.

    It holds a whole model, or adapters, which are added to the weights of theirs.

    Raises:
        ConvgymError: where the folder holds neither, or adapters of another model than is here.
    """
    if not (folder / ADAPTER).is_file():
        return load_folder(folder)
    recipe = read_recipe(folder)
    with refusing(f"the recipe {folder / RECIPE} cannot be read"):
        base, digest = str(recipe["base"]), str(recipe["base_sha256"])
        lora = LoRA(recipe["config"]["rank"], recipe["config"]["alpha"])
    if base_digest(base) != digest:
        raise ConvgymError(
            f"the adapters in {str(folder)!r} belong to another {base!r} than the one here, whose"
            " weights are not those that they were fitted to: make them anew with `convgym"
            " pretrain DIR --kind customer --base ...`"
        )
    network, tokenizer = load_network(base)
    add_lora(network, lora)
    with refusing(f"the adapters in {str(folder)!r} cannot be loaded"):
        from peft import get_peft_model_state_dict, set_peft_model_state_dict
        from safetensors.torch import load_file

        stored = load_file(folder / ADAPTER)
        weights = {name.removeprefix(_PREFIX): weight.float() for name, weight in stored.items()}
        ours = get_peft_model_state_dict(network)
        if weights.keys() != ours.keys():
            raise ValueError(f"they are {len(weights)}, and {len(ours)} were expected")
        set_peft_model_state_dict(network, weights)
    return merged(network), tokenizer


def weights_digest(folder: Path) -> str:
    """Return a hash of a customer's weights, those that its adapters are added to included."""
    adapter = folder / ADAPTER
    if not adapter.is_file():
        return hashlib.sha256((folder / MERGED).read_bytes()).hexdigest()
    base = str(read_recipe(folder).get("base_sha256"))
    return hashlib.sha256(adapter.read_bytes() + base.encode()).hexdigest()


def read_recipe(folder: Path) -> dict[str, Any]:
    """Return what a customer was made from; ConvgymError where it cannot be read."""
    with refusing(f"the recipe {folder / RECIPE} cannot be read"):
        recipe = json.loads((folder / RECIPE).read_bytes())
        if not isinstance(recipe, dict):
            raise TypeError(f"expected an object, got {type(recipe).__name__}")
        return recipe


def write_merged(
    network: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    template: str,
    folder: Path,
    output: Path,
) -> None:
    """Write a customer as a whole model in Hugging Face format.

    Its chat template is the one that it is spoken with: any server of chat models serves it, and
    this package reads it as it reads the adapters.

    Args:
        network: the model, its adapters added to the weights (``load_customer``).
        tokenizer: its own, which stays as it is.
        template: the chat template.
        folder: of the customer, where its recipe is.
        output: the new folder.
    """
    own = copy.copy(tokenizer)
    own.chat_template = template
    write_folder(network, own, output)
    shutil.copy(folder / RECIPE, output / RECIPE)
