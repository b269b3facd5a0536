"""A beginning for models that are to look things up: heads that copy, before anything is learned.

A model that is trained from scratch takes long to find that what followed a word before may follow
it again, and learns little else meanwhile. Here two layers are begun so that they do that from the
first step on (induction heads: Olsson et al. 2022, arXiv 2209.11895), as weights that resemble
trained ones speed up training (mimetic initialisation: Trockman & Kolter 2023, arXiv 2305.09828).
All of it is trained like everything else.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

_CPU = torch.device("cpu")
"""Where a network is begun; it is moved afterwards."""
_FAST = (0.45, 0.3, 0.15, 0.1)
"""Shares of a head's fastest turning dimensions in what looks back by a number of tokens."""
_SHARPNESS = 14.0
"""Norm of the biases by which a head looks back."""
_LIKENESS = 3.0
"""Scale of the queries and keys by which a head looks for like words."""
_NOTED, _BROUGHT = 1.5, 12.0
"""How much what a head notes, and what it brings, weighs beside a word."""
_EARLIER = 0.4
"""How much a noted word counts in a query beside the present one: it is written larger."""
_LOOK_BACK = (1, 2)
"""How many tokens the first layer's heads look back."""


@torch.no_grad()
def begin_by_copying(network: PreTrainedModel) -> None:
    """Change an untrained Llama-shaped network, in place, so that it copies what followed before.

    In the first layer one head looks one token back and another two, and each notes the word there
    in dimensions of its own. In the second layer one head looks for tokens that follow the present
    word, another for tokens that follow the present word and the one before it, in this order; both
    bring the word that they find. What other layers add begins small, and words' embeddings have
    norm 1, so that what is brought can be said.

    Args:
        network: with biases of attention and as many key and value heads as heads, drawn at random;
            left as it is where it has less than two layers or less than four heads, or is less
            than three heads wide.
    """
    config = network.config
    size, width = config.head_dim, config.hidden_size
    narrow = width < (len(_LOOK_BACK) + 1) * size
    if narrow or config.num_hidden_layers < 2 or config.num_attention_heads < 2 * len(_LOOK_BACK):
        return
    body: Any = network.base_model  # of any Llama-like class
    layers = body.layers
    first, second = layers[0].self_attn, layers[1].self_attn
    # What heads note has dimensions of its own; words are compared in the others.
    axes = torch.linalg.qr(torch.randn(width, width, device=_CPU))[0].T
    noted = len(_LOOK_BACK) * size
    words = axes[noted:]
    embeddings = body.get_input_embeddings().weight
    embeddings *= 1.0 / float(embeddings.norm(dim=1).mean())
    # What a head writes weighs as much as a word does.
    scale = float(embeddings.norm(dim=1).mean()) / math.sqrt(size)
    turning = config.rope_parameters["rope_theta"] ** (
        -torch.arange(0, size, 2, device=_CPU) / size
    )
    slow = torch.ones(size // 2, device=_CPU)
    slow[: len(_FAST) + 1] = 0.0
    slow = torch.cat([slow, slow])[:, None]
    for layer in layers:  # noise, as yet
        layer.mlp.down_proj.weight *= 0.2
        layer.self_attn.o_proj.weight *= 0.2
    slots = [axes[head * size : (head + 1) * size] for head in range(len(_LOOK_BACK))]
    view = _view(words, size)
    for head, distance in enumerate(_LOOK_BACK):
        part = slice(head * size, (head + 1) * size)
        first.q_proj.bias[part], first.k_proj.bias[part] = _looking_back(turning, distance)
        first.q_proj.weight[part] *= 0.1
        first.k_proj.weight[part] *= 0.1
        first.v_proj.weight[part] = view
        first.o_proj.weight[:, part] = _NOTED * scale * slots[head].T
    # Half of the second one's dimensions compare present words, the others those before them.
    even = (torch.arange(size, device=_CPU) % 2 == 0)[:, None]
    looked_for = (
        (view, slots[0]),
        (torch.where(even, view, _EARLIER * slots[0]), torch.where(even, slots[0], slots[1])),
    )
    for head, (query, key) in enumerate(looked_for):
        part = slice(head * size, (head + 1) * size)
        second.q_proj.weight[part] = _LIKENESS * slow * query
        second.k_proj.weight[part] = _LIKENESS * slow * key
        brought = _view(words, size)
        second.v_proj.weight[part] = brought
        second.o_proj.weight[:, part] = _BROUGHT * scale * brought.T


def _view(axes: Tensor, size: int) -> Tensor:
    """Return random directions (size, width) among some axes, orthogonal and of length 1."""
    directions: Tensor = torch.linalg.qr(torch.randn(len(axes), size, device=_CPU))[0].T @ axes
    return directions


def _looking_back(turning: Tensor, distance: int) -> tuple[Tensor, Tensor]:
    """Return biases of queries and keys whose product is largest ``distance`` tokens apart.

    Args:
        turning: by how much (size / 2,) each pair of dimensions turns a token, in radians; the
            pairs are (i, i + size / 2).
        distance: in tokens.
    """
    half, n = len(turning), min(len(_FAST), len(turning))
    query, key = torch.zeros(2, 2 * half, device=_CPU)
    weights = _SHARPNESS * torch.tensor(_FAST[:n], device=_CPU).sqrt()
    query[:n] = weights
    key[:n] = weights * torch.cos(distance * turning[:n])
    key[half : half + n] = weights * torch.sin(distance * turning[:n])
    return query, key
