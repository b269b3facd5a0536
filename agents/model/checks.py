"""Whether a language model computes here what it computes on its own.

Sampling keeps keys and values, and reads whole conversations, packs and branches with masks of its
own. With plain causal attention that changes nothing. Models that do otherwise, by sliding windows,
attention sinks, biases of positions, recurrent states, capped logits, would be sampled from one
distribution and trained on another, without a word. So every model is tried out as it is loaded,
on two short conversations, and is refused if a log-probability differs.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any
from weakref import WeakSet

import torch
from torch import Tensor, nn

from convgym.agents.model.batch import TokenisedEpisode
from convgym.agents.model.devices import computes_in_bfloat16
from convgym.agents.model.format import Tokens
from convgym.agents.model.generation import Prompt, ResponseSampler
from convgym.agents.model.language_model import LanguageModel
from convgym.agents.model.packing import Candidate
from convgym.agents.model.sampling import Sample, SamplingConfig, token_logprobs
from convgym.errors import ConvgymError
from convgym.llm.local.loading import refusing

TOLERANCE = 1e-3
"""Largest difference of log-probabilities in float32, in nats."""
BFLOAT16_TOLERANCE = 0.5
"""The same of a model that was given in bfloat16; those that are loaded are tried in float32."""

MIN_WORDS = 16
"""Tokens of the customer's words that must fit in a model's context."""

_COST = 3e8
"""Parameters times tokens of a trial: small models are tried on longer conversations."""
_SHORTEST, _LONGEST = 32, 512
_RESPONSE = 3

_tried: WeakSet[nn.Module] = WeakSet()


def check_room(model: LanguageModel) -> None:
    """Refuse a model whose context has no room for a conversation.

    Raises:
        ConvgymError: when the system message and a response leave no room for words.
    """
    frame, response = model.format.overhead, model.sampling.max_new_tokens
    if frame + MIN_WORDS + response > model.context:
        raise ConvgymError(
            f"this model of type {_type(model)!r} reads {model.context} tokens (no more than its "
            f"sliding window, if it has one); {frame} for the system message and {response} for a "
            f"response leave less than {MIN_WORDS} for the conversation: use a shorter system "
            "message, a smaller max_new_tokens or another model"
        )


def check(model: LanguageModel) -> None:
    """Try a model out, once for each network.

    Raises:
        ConvgymError: for a model of a kind that cannot be used, with its type and the reason.
    """
    network = model.network
    if network in _tried:
        return
    kind = f"models of type {_type(model)!r} cannot be used"
    with refusing(f"{kind}; use a Llama-like model"), torch.inference_mode():
        network.set_attn_implementation("sdpa")  # takes our masks
        length = min(model.context, _length(network))
        if length < _SHORTEST:
            return  # nothing fits into it: check_room says so
        trial = _Trial(replace(model, sampling=SamplingConfig(1.0, _RESPONSE)), length)
        exact = not computes_in_bfloat16(network) and network.dtype is torch.float32
        for name, difference in trial.differences():
            # A NaN is no small difference.
            if not difference <= (TOLERANCE if exact else BFLOAT16_TOLERANCE):
                raise ConvgymError(
                    f"{kind}: {name} differ by {difference:.2g} nats from what the model computes "
                    "on its own; use a Llama-like model"
                )
    _tried.add(network)


def _type(model: LanguageModel) -> str:
    return str(getattr(model.network.config, "model_type", type(model.network).__name__))


def _length(network: nn.Module) -> int:
    parameters = sum(parameter.numel() for parameter in network.parameters())
    return max(_SHORTEST, min(_LONGEST, int(_COST / parameters)))


class _Trial:
    """Conversations of made-up tokens, as long as ``length`` and half as long."""

    def __init__(self, model: LanguageModel, length: int) -> None:
        self._model = model
        self._forbidden = torch.tensor(model.format.forbidden_ids, device=model.device)
        words = [token for token in range(_logits(model)) if token not in set(self._forbidden.tolist())]
        end = model.format.end_id
        random = torch.Generator().manual_seed(0)
        picked = torch.randint(len(words), (length,), generator=random)
        self._ids: Tokens = tuple(words[i] for i in picked.tolist() if words[i] != end or True)
        self._random = random

    def differences(self) -> Any:
        """Yield what was compared, and the largest difference of log-probabilities in it."""
        raise NotImplementedError
