"""A beginning for models that are to look things up: heads that copy, before anything is learned.

A model that is trained from scratch takes long to find that what followed a word before may follow
it again, and learns little else meanwhile. Here two layers are begun so that they do that from the
first step on (induction heads: Olsson et al. 2022, arXiv 2209.11895), as weights that resemble
trained ones speed up training (mimetic initialisation: Trockman & Kolter 2023, arXiv 2305.09828).
All of it is trained like everything else.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from transformers import PreTrainedModel

_FAST = (0.45, 0.3, 0.15, 0.1)
"""Shares of a head's fastest turning dimensions in what looks back by a number of tokens."""
_SHARPNESS = 10.0
"""Norm of the biases by which a head looks back."""
_LIKENESS = 3.0
"""Scale of the queries and keys by which a head looks for like words."""
_LOOK_BACK = (1, 2, 3)
"""How many tokens the first layer's heads look back."""


@torch.no_grad()
def begin_by_copying(network: PreTrainedModel) -> None:
    """Change an untrained Llama-shaped network, in place, so that it copies what followed before.

    In the first layer head h looks h + 1 tokens back, for up to three heads, and notes the word
    there in dimensions of its own. In the second layer the first heads look for tokens behind which
    (one or two before) stands the present word, and bring the word that they find.

    Args:
        network: with biases of attention and as many key and value heads as heads, drawn at random.
    """
    config = network.config
    heads, size, width = config.num_attention_heads, config.head_dim, config.hidden_size
    if config.num_hidden_layers < 2 or heads * size > width:
        return
    layers = network.base_model.layers
    first, second = layers[0].self_attn, layers[1].self_attn
    slots = torch.linalg.qr(torch.randn(width, width))[0]
    # What a head writes weighs as much as a word does.
    scale = float(network.get_input_embeddings().weight.norm(dim=1).mean()) / math.sqrt(size)
    turning = config.rope_parameters["rope_theta"] ** (-torch.arange(0, size, 2) / size)
    views = [_view(size, width) for _ in range(heads)]
    for head, distance in enumerate(_LOOK_BACK[:heads]):
        part = slice(head * size, (head + 1) * size)
        query, key = _looking_back(turning, distance)
        first.q_proj.bias[part], first.k_proj.bias[part] = query, key
        first.q_proj.weight[part] *= 0.1
        first.k_proj.weight[part] *= 0.1
        first.v_proj.weight[part] = views[head]
        first.o_proj.weight[:, part] = scale * slots[:, part]
    slow = torch.ones(size // 2)
    slow[: len(_FAST) + 1] = 0.0
    slow = torch.cat([slow, slow])[:, None]
    for head in range(min(2, heads)):
        part = slice(head * size, (head + 1) * size)
        second.q_proj.weight[part] = _LIKENESS * slow * views[head]
        second.k_proj.weight[part] = _LIKENESS * slow * slots[:, part].T
        view = _view(size, width)
        second.v_proj.weight[part] = view
        second.o_proj.weight[:, part] = scale * view.T


def _view(size: int, width: int) -> Tensor:
    """Return random directions (size, width), orthogonal and of length 1."""
    return torch.linalg.qr(torch.randn(width, size))[0].T


def _looking_back(turning: Tensor, distance: int) -> tuple[Tensor, Tensor]:
    """Return biases of queries and keys whose product is largest ``distance`` tokens apart.

    Args:
        turning: by how much (size / 2,) each pair of dimensions turns a token, in radians; the
            pairs are (i, i + size / 2).
        distance: in tokens.
    """
    half, n = len(turning), min(len(_FAST), len(turning))
    query, key = torch.zeros(2 * half), torch.zeros(2 * half)
    weights = _SHARPNESS * torch.tensor(_FAST[:n]).sqrt()
    query[:n] = weights
    key[:n] = weights * torch.cos(distance * turning[:n])
    key[half : half + n] = weights * torch.sin(distance * turning[:n])
    return query, key
