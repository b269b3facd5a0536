"""Checkpoints that execute nothing: tensors as safetensors, all else as JSON, in one file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from convgym.datafiles import write_atomically
from convgym.errors import ConvgymError

_TREE = "convgym"
_TENSOR, _PAIRS, _TUPLE = "$tensor", "$pairs", "$tuple"


def save_checkpoint(path: Path, tree: Mapping[str, Any]) -> None:
    """Write a tree of tensors, numbers, texts, lists, tuples and mappings.

    What is loaded again is equal; tensors that share memory get memory of their own.

    A reader finds the old file or the new one, never a part, even after a power failure.
    """
    tensors: dict[str, Tensor] = {}
    plain = _flatten(tree, tensors)
    content = save(tensors, metadata={_TREE: json.dumps(plain)})
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, content)


def load_checkpoint(
    path: Path, what: str = "checkpoint", advice: str = "delete it to start its run anew"
) -> dict[str, Any]:
    """Return what ``save_checkpoint`` wrote, tensors on the CPU.

    Args:
        path: the file.
        what: it should be, and ``advice`` what to do where it is not: both for the error.
        advice: see there.

    Raises:
        ConvgymError: for a file that is damaged, or none of ours.
    """
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            plain = json.loads(file.metadata()[_TREE])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            tree = _restore(plain, tensors)
        if not isinstance(tree, dict):
            raise TypeError(f"expected a mapping, got {type(tree).__name__}")
    except (SafetensorError, OSError, KeyError, TypeError, ValueError, RecursionError) as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise ConvgymError(
            f"{path} is no {what} of convgym, or damaged ({reason}): {advice}"
        ) from None
    return tree


def _flatten(value: Any, tensors: dict[str, Tensor]) -> Any:
    """Return JSON for a value; its tensors go where ``_restore`` finds them by number."""
    if isinstance(value, Tensor):
        name = str(len(tensors))
        # Weights that are tied would share memory, which the format does not know.
        tensors[name] = value.detach().to("cpu").clone().contiguous()
        return {_TENSOR: name}
    if isinstance(value, Mapping):
        if all(isinstance(key, str) and not key.startswith("$") for key in value):
            return {key: _flatten(item, tensors) for key, item in value.items()}
        pairs = [[_flatten(key, {}), _flatten(item, tensors)] for key, item in value.items()]
        return {_PAIRS: pairs}
    if isinstance(value, tuple):
        return {_TUPLE: [_flatten(item, tensors) for item in value]}
    if isinstance(value, list):
        return [_flatten(item, tensors) for item in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(f"a checkpoint holds tensors and plain data only, got {type(value).__name__}")


def _restore(plain: Any, tensors: Mapping[str, Tensor]) -> Any:
    if isinstance(plain, dict):
        if _TENSOR in plain:
            return tensors[plain[_TENSOR]]
        if _PAIRS in plain:
            return {_restore(key, {}): _restore(item, tensors) for key, item in plain[_PAIRS]}
        if _TUPLE in plain:
            return tuple(_restore(item, tensors) for item in plain[_TUPLE])
        return {key: _restore(item, tensors) for key, item in plain.items()}
    if isinstance(plain, list):
        return [_restore(item, tensors) for item in plain]
    return plain
