"""Low-rank adapters: how a model that is too large to train whole is trained.

Hu et al. 2021 (arXiv 2106.09685): beside a frozen weight W stands a product of two thin matrices,
``W x + alpha / rank * B A x``, of which only A and B are trained. B is 0 at first, so that the
model starts as it was. ``peft`` puts the adapters into the model's own layers; it stays the model
that it was to all who use it.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
from transformers import PreTrainedModel

from convgym.checks import check_number
from convgym.errors import ConvgymError
from convgym.installing import install_command


@dataclass(frozen=True, slots=True)
class LoRA:
    """Which adapters a model gets."""

    rank: int = 16
    alpha: float = 32.0
    """Scale of the adapters' output, in units of ``rank``."""
    targets: str | tuple[str, ...] = "all-linear"
    """Names of the layers that get adapters; by default all but the output layer."""

    def __post_init__(self) -> None:
        check_number("rank", self.rank)
        check_number("alpha", self.alpha)
        if self.rank < 1 or not self.alpha > 0:
            raise ConvgymError(
                "LoRA needs rank >= 1 and a positive alpha, got "
                f"rank={self.rank} and alpha={self.alpha}"
            )


def add_lora(model: PreTrainedModel, lora: LoRA, frozen_dtype: torch.dtype = torch.float32) -> None:
    """Freeze a model's weights and give it untrained adapters, in place.

    Frozen weights are kept in ``frozen_dtype``, adapters are float32.

    Raises:
        ConvgymError: when ``peft`` is missing, or the model has no layers of these names.
    """
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ModuleNotFoundError as error:
        raise ConvgymError(f"LoRA needs 'peft': {install_command('train')}") from error
    targets = lora.targets if isinstance(lora.targets, str) else list(lora.targets)
    config = LoraConfig(r=lora.rank, lora_alpha=lora.alpha, target_modules=targets)  # type: ignore[arg-type]
    for parameter in model.parameters():
        # Buffers, such as the frequencies of positions, stay as precise as they are.
        parameter.data = parameter.data.to(frozen_dtype)
        parameter.requires_grad_(False)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        try:
            inject_adapter_in_model(config, model)
        except ValueError as error:
            raise ConvgymError(f"LoRA found nothing to adapt: {error}") from error
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()


def merged(model: PreTrainedModel) -> PreTrainedModel:
    """Return a model with its adapters added to its weights, in float32: one like any other.

    A model without adapters is returned as it is.
    """
    if not hasattr(model, "peft_config"):
        return model
    from peft.tuners.lora import LoraLayer

    model = copy.deepcopy(model).float()
    for name, module in list(model.named_modules()):
        if isinstance(module, LoraLayer):
            module.merge()
            model.set_submodule(name, module.get_base_layer())
    del model.peft_config
    return model.requires_grad_(True)
