"""Sampling many continuations of a few conversations, each conversation read once.

Responses to the states of a conversation, and replies to those, all continue beginnings of the same
tokens. Whole conversations are read once, whatever leaves them (``packing``), and a branch keeps
keys and values of its own tokens only. It attends to both parts, with one softmax over them: to the
conversation together with the other branches, as one product of matrices (Hydragen, Juravsky et al.
2024, section 3), where a cache for every branch would copy, and read, the conversation over again.
"""

from __future__ import annotations

import math
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol, cast

import torch
from torch import Tensor
from transformers import AttentionInterface, DynamicCache, PreTrainedConfig, PreTrainedModel
from transformers.cache_utils import Cache, CacheLayerMixin

from convgym.agents.model.context import usable_context
from convgym.agents.model.devices import computing
from convgym.agents.model.format import Tokens
from convgym.agents.model.forward import word_logits
from convgym.agents.model.sampling import (
    Randomness,
    Sample,
    draw,
    numbers_for,
    samples,
    token_logprobs,
)
from convgym.errors import ConvgymError

_ATTENTION = "convgym-branches"


class _Layer(CacheLayerMixin):
    """One layer's keys and values of the branches' own tokens, (branches, heads, slots, width)."""

    def __init__(self, branches: Branches) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._branches = weakref.proxy(branches)  # no circle, see ``RaggedCache``

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        shape = len(self._branches), key_states.shape[1], self._branches.capacity
        self.keys = key_states.new_zeros(*shape, key_states.shape[-1])
        self.values = value_states.new_zeros(*shape, value_states.shape[-1])
        self.is_initialized = True

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        """Write the states (reading, heads, 1, width) of a token a branch; return all of theirs."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        assert self.keys is not None and self.values is not None
        reading, slots = self._branches.reading, self._branches.slots
        # In mixed precision, what begins a branch may have come in another number type.
        self.keys[reading, :, slots] = key_states[:, :, 0].to(self.keys.dtype)
        self.values[reading, :, slots] = value_states[:, :, 0].to(self.values.dtype)
        used = self._branches.used
        return self.keys[reading, :, :used], self.values[reading, :, :used]

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        return self.get_seq_length(), 0

    def get_seq_length(self) -> int:
        used: int = self._branches.used
        return used

    def get_max_length(self) -> int:
        return -1


class Branches:
    """N sequences, each of which continues a beginning of one of B rows that were read before.

    Args:
        network: a ``transformers`` causal language model with plain attention layers only.
        trunk: the rows' keys and values, from ``forward.read``.
        rows: (N,) the row of every branch, in ascending order.
        starts: (N,) how many of the row's first tokens the branch sees.
        capacity: most tokens that a branch may have of its own.

    Raises:
        ConvgymError: when the branches would outgrow the model's context, or its attention cannot
            be replaced.
    """

    def __init__(
        self,
        network: PreTrainedModel,
        trunk: DynamicCache,
        rows: Tensor,
        starts: Tensor,
        capacity: int,
    ) -> None:
        if not network._can_set_attn_implementation():
            raise ConvgymError(
                f"{type(network).__name__} does not let its attention be replaced "
                "(transformers' AttentionInterface), which sampling branches needs: "
                "use another model"
            )
        context = usable_context(network.config)
        if len(rows) and int(starts.max()) + capacity > context:
            raise ConvgymError(
                f"a conversation of {int(starts.max())} tokens and a continuation of up to "
                f"{capacity} exceed the model's context of {context}: "
                "use fewer turns, a smaller max_new_tokens or another model"
            )
        self._network, self._body = network, cast("PreTrainedModel", network.base_model)
        self._device = network.device
        self.capacity = capacity
        layers: Sequence[Any] = trunk.layers
        self._trunk: list[tuple[Tensor, Tensor]] = [(layer.keys, layer.values) for layer in layers]
        self._size = len(self._trunk[0][0])
        self._rows, self._starts = rows, starts
        self._lengths = torch.zeros(len(rows), dtype=torch.long, device=self._device)
        self._unread: list[int] = []
        self._own = [_Layer(self) for _ in layers]
        self._cache = Cache(layers=[*self._own])
        # Of the token that is being read, for the layers and the attention:
        self.reading = torch.zeros(0, dtype=torch.long, device=self._device)
        self.slots = self.reading
        self.used, self.longest = 0, 0

    def __len__(self) -> int:
        return len(self._rows)

    def begin(self, branch: Tensor, columns: Tensor) -> None:
        """Give branches what the rows' pass has read of them already.

        Args:
            branch: (T,) branch of every token, in ascending order.
            columns: (T,) the token's column in its row.
        """
        counts, slots = _ranks(branch, len(self))
        rows = self._rows[branch]
        for own, (keys, values) in zip(self._own, self._trunk, strict=True):
            own.lazy_initialization(keys, values)
            assert own.keys is not None and own.values is not None
            own.keys[branch, :, slots] = keys[rows, :, columns]
            own.values[branch, :, slots] = values[rows, :, columns]
        self._lengths = counts

    @torch.inference_mode()
    def read(self, branches: Tensor, tokens: Tensor) -> Tensor:
        """Read one more token (M,) of some branches (M,); return the hidden states (M, width)."""
        self.reading, self.slots = branches, self._lengths[branches]
        self._arrange()
        with _attention_of(self._body.config), computing(self._body, self._device):
            output = self._body(
                input_ids=tokens[:, None],
                position_ids=(self._starts[branches] + self.slots)[:, None],
                past_key_values=self._cache,
                use_cache=True,
                branches=self,
            )
        self._lengths[branches] += 1
        hidden: Tensor = output.last_hidden_state[:, 0]
        return hidden

    def read_on(self, blocks: Sequence[Tokens]) -> Tensor:
        """Return the hidden states (N, width) after the samples of ``sample`` and a block each.

        Blocks may be empty.
        """
        ahead = [(last, *block) for last, block in zip(self._unread, blocks, strict=True)]
        lengths = torch.tensor([len(block) for block in ahead], device=self._device)
        hidden = torch.zeros(0, device=self._device)
        for i in range(int(lengths.max())):
            branches = (lengths > i).nonzero()[:, 0]
            tokens = [ahead[k][i] for k in branches.tolist()]
            read = self.read(branches, torch.tensor(tokens, device=self._device))
            hidden = read if i == 0 else hidden.index_copy(0, branches, read)
        return hidden

    @torch.inference_mode()
    def sample(
        self,
        hidden: Tensor,
        generator: Randomness,
        *,
        end_id: int,
        forbidden_ids: Tokens,
        temperature: float,
        max_new_tokens: int,
    ) -> list[Sample]:
        """Sample tokens from every branch's last hidden state (N, width) until it ends.

        The last token of a sample is not read.
        """
        n, device = len(self), self._device
        forbidden = torch.tensor(forbidden_ids, dtype=torch.long, device=device)
        tokens = torch.zeros(n, max_new_tokens, dtype=torch.long, device=device)
        logprobs = torch.zeros(n, max_new_tokens, device=device)
        counts = torch.full((n,), max_new_tokens, device=device)
        branches = torch.arange(n, device=device)
        for step in range(max_new_tokens):
            logits = word_logits(self._network, hidden)
            scores = token_logprobs(logits, forbidden, temperature)
            token = draw(scores, numbers_for(branches, step, generator))
            tokens[branches, step] = token
            logprobs[branches, step] = scores.gather(1, token[:, None])[:, 0]
            ended = token == end_id
            counts[branches[ended]] = step + 1
            branches, token = branches[~ended], token[~ended]
            if not len(branches) or step + 1 == max_new_tokens:
                break
            hidden = self.read(branches, token)
        sampled = samples(tokens, logprobs, counts)
        self._unread = [sample.token_ids[-1] for sample in sampled]
        return sampled

    def _arrange(self) -> None:
        """Lay out the branches that are reading as a grid, a row of it for each row they leave."""
        rows, starts = self._rows[self.reading], self._starts[self.reading]
        counts, ranks = _ranks(rows, self._size)
        self._grid = rows, ranks
        self._width, self._length = int(counts.max()), int(starts.max())
        self.used = int(self.slots.max()) + 1  # slots, by any branch that is reading
        self.longest = int((starts + self.slots).max()) + 1  # tokens that one of them sees
        trunk = torch.arange(self._length, device=self._device) >= starts[:, None]
        own = torch.arange(self.used, device=self._device) > self.slots[:, None]
        self._unseen = torch.cat([trunk, own], 1)[:, None, None]  # (M, 1, 1, length + slots)

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Return what scaled queries (M, heads, groups, d) find in the trunk and their own tokens.

        ``key`` and ``value`` (M, heads, slots, d) are the branches' own.
        """
        keys, values = (states[:, :, : self._length] for states in self._trunk[layer])
        far = self._from_grid(self._to_grid(query) @ keys.mT, query)
        scores = torch.cat([far, query @ key.mT], -1).float()
        weights = scores.masked_fill_(self._unseen, -torch.inf).softmax(-1).to(value.dtype)
        attended = self._from_grid(self._to_grid(weights[..., : self._length]) @ values, query)
        return attended + weights[..., self._length :] @ value

    def _to_grid(self, of_branches: Tensor) -> Tensor:
        """Stack the branches' (M, heads, groups, X) by rows: (B, heads, width * groups, X)."""
        _, heads, groups, x = of_branches.shape
        grid = of_branches.new_zeros(self._size, heads, self._width, groups, x)
        rows, ranks = self._grid
        grid[rows, :, ranks] = of_branches
        return grid.view(self._size, heads, self._width * groups, x)

    def _from_grid(self, stacked: Tensor, like: Tensor) -> Tensor:
        """Undo ``_to_grid`` for branches of as many heads and groups as ``like``."""
        _, heads, groups, _ = like.shape
        rows, ranks = self._grid
        return stacked.view(self._size, heads, self._width, groups, -1)[rows, :, ranks]


def _ranks(groups: Tensor, n: int) -> tuple[Tensor, Tensor]:
    """Return the sizes (n,) of groups, and the place (T,) of each of T members within its group.

    ``groups`` (T,) are the members' groups, in ascending order.
    """
    counts = torch.bincount(groups, minlength=n)
    order = torch.arange(len(groups), device=groups.device)
    return counts, order - (counts.cumsum(0) - counts)[groups]


class _AttentionLayer(Protocol):
    """What is asked of a model's attention layer."""

    layer_idx: int


def _attend(
    module: _AttentionLayer,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    *,
    branches: Branches,
    **options: Any,
) -> tuple[Tensor, None]:
    """``Branches.attend`` as ``transformers`` calls it, for queries (M, query heads, 1, d)."""
    special = [
        name for name in ("softcap", "s_aux", "position_bias") if options.get(name) is not None
    ]
    if (options.get("sliding_window") or math.inf) < branches.longest:
        special.append("sliding_window")
    if special:
        raise ConvgymError(
            f"sampling branches knows plain attention only, and {type(module).__name__} uses "
            f"{', '.join(special)}: use another model"
        )
    n, query_heads, _, d = query.shape
    heads = key.shape[1]
    scaled = query * (d**-0.5 if scaling is None else scaling)
    attended = branches.attend(
        module.layer_idx, scaled.view(n, heads, query_heads // heads, d), key, value
    )
    return attended.reshape(n, 1, query_heads, d), None


AttentionInterface.register(_ATTENTION, _attend)


@contextmanager
def _attention_of(config: PreTrainedConfig) -> Iterator[None]:
    """Have a body attend by branches."""
    before = config._attn_implementation
    config._attn_implementation = _ATTENTION
    try:
        yield
    finally:
        config._attn_implementation = before
