"""A body's forward pass over rows of tokens; what all rows begin with is read only once.

Conversations with a chat model share a long beginning, the system message. Its keys and values
are those of every row, gradients included.
"""

from __future__ import annotations

import torch
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel

from convgym.agents.model.devices import computing

WORTHWHILE = 64
"""Shortest common beginning, in tokens, for which a pass of its own pays."""


def shared_length(ids: Tensor) -> int:
    """Return how many tokens (B, T) all rows begin with; 0 if it is not worthwhile."""
    if len(ids) < 2:
        return 0
    length = int((ids == ids[0]).all(0).long().cumprod(0).sum())
    return length if length >= WORTHWHILE else 0


def read(
    body: PreTrainedModel,
    ids: Tensor,
    mask: Tensor | None = None,
    positions: Tensor | None = None,
    cache: DynamicCache | None = None,
) -> Tensor:
    """Return the hidden states (B, T, width) of token ids (B, T).

    Args:
        body: a ``transformers`` model without its output layer.
        ids: rows padded at the right: causal attention never looks there.
        mask: (B, 1, T, T) bool, True where the third axis sees the fourth; causal if None.
        positions: (B, T) of the tokens; in order if None.
        cache: an empty one, to be filled with the keys and values of all tokens.
    """
    shared = min(shared_length(ids), ids.shape[1] - 1)
    if shared and mask is not None:
        causal = torch.ones(shared, ids.shape[1], dtype=torch.bool, device=ids.device).tril()
        plain = (mask[:, 0, :shared] == causal).all(2).all(0)
        shared = int(plain.long().cumprod(0).sum())
    if shared < WORTHWHILE:
        with computing(body, ids.device):
            hidden = body(
                input_ids=ids,
                attention_mask=mask,
                position_ids=positions,
                past_key_values=cache,
                use_cache=cache is not None,
            ).last_hidden_state
        assert isinstance(hidden, Tensor)
        return hidden
    if cache is None:
        cache = DynamicCache()  # of a config with windows, it would forget what lies before them
    with computing(body, ids.device):
        head = body(input_ids=ids[:1, :shared], past_key_values=cache, use_cache=True)
        cache.batch_repeat_interleave(len(ids))
        tail = body(
            input_ids=ids[:, shared:],
            attention_mask=None if mask is None else mask[:, :, shared:],
            position_ids=None if positions is None else positions[:, shared:],
            past_key_values=cache,
            use_cache=True,
        )
    beginning = head.last_hidden_state.expand(len(ids), -1, -1)
    return torch.cat([beginning, tail.last_hidden_state], 1)


def word_logits(network: PreTrainedModel, hidden: Tensor) -> Tensor:
    """Return the logits (..., V) of the next token from hidden states (..., width)."""
    with computing(network, hidden.device):
        logits: Tensor = network.get_output_embeddings()(hidden)
    return logits
