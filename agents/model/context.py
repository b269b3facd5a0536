"""How much of a conversation a model can read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from transformers import PreTrainedConfig

from convgym.errors import ConvgymError

_WINDOWS = (
    "sliding_window",
    "sliding_window_size",
    "window_size",
    "attention_window",
    "attention_window_size",
    "attention_chunk_size",
    "local_attention",
)
"""Names by which configs tell how far a layer sees."""


def usable_context(config: PreTrainedConfig) -> int:
    """Return the most tokens that a model is given to read.

    No more than its positions, and no more than every layer sees: within the shortest sliding
    window, and before the positions are stretched for long texts, plain causal attention is what
    the model computes, which is what all that samples and trains here relies on.

    Raises:
        ConvgymError: for a model that does not say how many positions it has.
    """
    config = config.get_text_config()
    positions = getattr(config, "max_position_embeddings", None)
    if not isinstance(positions, int) or positions < 1:
        raise ConvgymError(
            f"models of type {config.model_type!r} cannot be used: their config has no "
            "max_position_embeddings, so their positions are no plain ones; use a Llama-like model"
        )
    return min([positions, *_windows(config), *_stretched_from(config)])


def _windows(config: Any) -> list[int]:
    kinds = getattr(config, "layer_types", None)
    if kinds and set(kinds) <= {"full_attention", "attention"}:
        return []
    if getattr(config, "use_sliding_window", None) is False:
        return []
    windows: list[int] = []
    for name in _WINDOWS:
        window = getattr(config, name, None)
        sizes = window if isinstance(window, list | tuple) else [window]
        windows += [size for size in sizes if type(size) is int and size > 0]
    return windows


def _stretched_from(config: Any) -> list[int]:
    """Return the lengths from which positions are encoded otherwise, all earlier ones included."""
    rope = getattr(config, "rope_parameters", None) or {}
    of_layers = [rope, *(value for value in rope.values() if isinstance(value, Mapping))]
    return [
        original
        for parameters in of_layers
        if parameters.get("rope_type") in ("longrope", "dynamic")
        for original in (
            parameters.get("original_max_position_embeddings"),
            getattr(config, "original_max_position_embeddings", None),
        )
        if isinstance(original, int) and original > 0
    ]
