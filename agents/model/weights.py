"""What of a model is trained, and hence copied and kept: all of it, or its adapters.

Copies share the weights that are frozen: five copies of a model with adapters (reference, improved
policy, members of Q) take little more memory than one.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import TypeVar

from torch import Tensor, nn

Module = TypeVar("Module", bound=nn.Module)


def copied(module: Module) -> Module:
    """Return a copy of a module that shares its frozen weights."""
    frozen = [parameter for parameter in module.parameters() if not parameter.requires_grad]
    return copy.deepcopy(module, {id(parameter): parameter for parameter in frozen})


def trained_weights(module: nn.Module) -> dict[str, Tensor]:
    """Return a module's state without what is frozen."""
    frozen = _frozen(module)
    return {name: tensor for name, tensor in module.state_dict().items() if name not in frozen}


def load_trained_weights(module: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Set a module to what ``trained_weights`` returned of one like it."""
    everything = module.state_dict()
    module.load_state_dict({**{name: everything[name] for name in _frozen(module)}, **weights})


def _frozen(module: nn.Module) -> set[str]:
    named = module.named_parameters(remove_duplicate=False)
    return {name for name, parameter in named if not parameter.requires_grad}
