"""Batched sampling from a causal language model, where every row keeps to a seed of its own.

Reading a prompt costs far more than writing a short answer, and the prompts of a conversation
begin alike from turn to turn, as do those of one instruction. So keys and values of what was read
are kept, and of each prompt only what no earlier one began with is read.

Rows are aligned at their right end, known part and new part each::

    | pads | known tokens | pads | new tokens | answer ...

The attention mask hides the pads, and positions count real tokens only.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel

MIN_P = 0.05
"""Tokens less likely than this share of the likeliest are never sampled: small models lose the
thread at one odd word. It is what llama.cpp does by default."""

KEPT_BYTES = 2**31
"""Keys and values that are kept for later prompts, about 46,000 tokens of SmolLM2-135M."""

SHARED = 16
"""Fewer tokens than this in common are not worth being read ahead of the batch."""

Tokens = tuple[int, ...]


class Constraint(Protocol):
    """What may be said next, token by token; a state of its own for every answer."""

    def forced(self) -> Tokens:
        """Return the tokens that an answer must begin with, and take them as said."""

    def allowed(self) -> Tensor:
        """Return a mask (V,) of the tokens that may come next."""

    def take(self, token: int) -> bool:
        """Hear the next token; return whether the answer is complete with it."""


@dataclass(slots=True)
class Row:
    """One answer to sample.

    Attributes:
        prompt: token ids, at least one.
        seed: of this row's sampling, whatever rows are beside it.
        max_tokens: longest answer, at least 1.
        temperature: 0 takes the likeliest token.
        constraint: of the answer, or None.
        answer: token ids of the answer, without its end token.
    """

    prompt: Tokens
    seed: int
    max_tokens: int
    temperature: float
    constraint: Constraint | None = None
    answer: list[int] = field(default_factory=list)


class Sampler:
    """Samples answers from ``model``, a causal language model of ``transformers``.

    Args:
        model: in evaluation mode; everything but the draws is computed on its device.
        end_ids: tokens that end an answer.
    """

    def __init__(self, model: PreTrainedModel, end_ids: Collection[int]) -> None:
        self._model, self._end_ids = model, frozenset(end_ids)
        self._device: torch.device = model.device
        # Windows of attention are counted in slots, pads included: such models start afresh.
        config = model.config.get_text_config()
        window = getattr(config, "sliding_window", None)
        kinds = getattr(config, "layer_types", None)
        full = set(kinds) == {"full_attention"} if kinds else window is None
        self._kept = _Kept(KEPT_BYTES if full else 0)

    @torch.inference_mode()
    def sample(self, rows: Sequence[Row], batch_size: int = 16) -> None:
        """Fill in the answer of every row, ``batch_size`` rows at a time."""
        for row in rows:
            if row.constraint is not None:
                row.answer += row.constraint.forced()[: row.max_tokens]
        self._read_shared([_ids(row) for row in rows])
        # By what is left to read: pads are few, and what is known is used before it is dropped.
        waiting = sorted(rows, key=lambda row: len(_ids(row)) - self._kept.known(_ids(row)))
        for start in range(0, len(waiting), batch_size):
            self._answer(waiting[start : start + batch_size])

    def _read_shared(self, prompts: Sequence[Tokens]) -> None:
        """Read what all prompts begin with once, ahead of them."""
        if len(prompts) < 2 or not self._kept.capacity:
            return
        shared = min(_common(min(prompts), max(prompts)), min(map(len, prompts)) - 1)
        head = prompts[0][:shared]
        if shared - self._kept.known(head) >= SHARED:
            self._read([head])

    def _read(self, prompts: Sequence[Tokens]) -> tuple[Tensor, Any, Tensor]:
        """Read prompts; return the next token's logits (B, V), the cache and its mask (B, K)."""
        starts = [self._kept.longest(ids) for ids in prompts]
        news = [ids[known:] for ids, (known, _) in zip(prompts, starts, strict=True)]
        before, width = max(known for known, _ in starts), max(map(len, news))
        device = self._device
        mask = torch.zeros(len(prompts), before + width, dtype=torch.long, device=device)
        tokens = torch.zeros(len(prompts), width, dtype=torch.long, device=device)
        for row, ((known, _), new) in enumerate(zip(starts, news, strict=True)):
            mask[row, before - known : before] = 1
            mask[row, before + width - len(new) :] = 1
            tokens[row, width - len(new) :] = torch.tensor(new, device=device)
        cache = DynamicCache() if before else DynamicCache(config=self._model.config)
        if before:
            _fill(cache, starts, before)
        positions = (mask.cumsum(-1) - 1).clamp(min=0)[:, before:]
        logits = self._forward(cache, tokens, mask, positions)
        self._kept.add(prompts, cache, mask)
        return logits, cache, mask

    def _forward(self, cache: Any, tokens: Tensor, mask: Tensor, positions: Tensor) -> Tensor:
        output = self._model(
            input_ids=tokens,
            attention_mask=mask,
            position_ids=positions,
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        )
        # Drawn from on the CPU, whose random numbers are the same on every machine.
        logits: Tensor = output.logits[:, -1].float().to("cpu")
        return logits

    def _answer(self, rows: Sequence[Row]) -> None:
        live = list(rows)
        random = [torch.Generator().manual_seed(row.seed % 2**63) for row in rows]
        places = list(range(len(rows)))  # of the live rows in the batch
        logits, cache, mask = self._read([_ids(row) for row in rows])
        while True:
            tokens = [0] * len(mask)
            going_on = []
            for place, row, generator in zip(places, live, random, strict=True):
                if len(row.answer) >= row.max_tokens:
                    continue
                allowed = None if row.constraint is None else row.constraint.allowed()
                tokens[place] = token = _draw(logits[place], row.temperature, allowed, generator)
                if token in self._end_ids:
                    continue
                row.answer.append(token)
                if row.constraint is not None and row.constraint.take(token):
                    continue
                if len(row.answer) < row.max_tokens:
                    going_on.append((place, row, generator))
            if not going_on:
                return
            places, live, random = (list(part) for part in zip(*going_on, strict=True))
            if 2 * len(live) <= len(mask):  # the others idle along until they are half
                chosen = torch.tensor(places, device=self._device)
                cache.batch_select_indices(chosen)
                mask, tokens = mask[chosen], [tokens[place] for place in places]
                places = list(range(len(live)))
            positions = mask.sum(-1, keepdim=True)
            mask = torch.cat([mask, mask.new_ones(len(mask), 1)], dim=1)
            said = torch.tensor(tokens, device=self._device)[:, None]
            logits = self._forward(cache, said, mask, positions)


def _ids(row: Row) -> Tokens:
    return row.prompt + tuple(row.answer)


def _draw(
    logits: Tensor, temperature: float, allowed: Tensor | None, generator: torch.Generator
) -> int:
    """Draw a token from logits (V,)."""
    if allowed is not None:
        logits = logits.masked_fill(~allowed, -torch.inf)
    if temperature == 0:
        return int(logits.argmax())
    chances = torch.softmax(logits / temperature, dim=-1)
    chances = chances.masked_fill(chances < MIN_P * chances.max(), 0.0)
    return int(torch.multinomial(chances, 1, generator=generator))


def _common(first: Tokens, second: Tokens) -> int:
    """Return how many tokens two sequences begin with alike."""
    pairs = zip(first, second, strict=False)
    return next((i for i, (a, b) in enumerate(pairs) if a != b), min(len(first), len(second)))


def _fill(cache: Any, starts: Sequence[tuple[int, _Entry | None]], width: int) -> None:
    """Put the known part of every row at the right end of ``width`` slots."""
    known_entry = next(entry for _, entry in starts if entry is not None)
    for layer, example in enumerate(zip(known_entry.keys, known_entry.values, strict=True)):
        filled = []
        for kind, states in zip(("keys", "values"), example, strict=True):
            heads, _, dim = states.shape
            block = states.new_zeros(len(starts), heads, width, dim)
            for row, (known, entry) in enumerate(starts):
                if entry is not None:
                    block[row, :, width - known :] = getattr(entry, kind)[layer][:, :known]
            filled.append(block)
        cache.update(*filled, layer)


@dataclass(frozen=True, slots=True, eq=False)
class _Entry:
    """A prompt that was read: keys and values of every layer, each (heads, length, width)."""

    ids: NDArray[np.int64]
    keys: list[Tensor]
    values: list[Tensor]

    @property
    def bytes(self) -> int:
        return sum(states.nbytes for states in (*self.keys, *self.values))


class _Kept:
    """Prompts that were read, up to a number of bytes; those used longest ago go first."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self._entries: dict[Tokens, _Entry] = {}

    def longest(self, prompt: Tokens) -> tuple[int, _Entry | None]:
        """Return how much of ``prompt`` is known at most, and from where.

        The last token never is: somebody must read it to know what comes next.
        """
        ids = np.array(prompt[:-1], dtype=np.int64)
        best, best_key = 0, None
        for key, entry in self._entries.items():
            size = min(len(ids), len(entry.ids))
            differs = entry.ids[:size] != ids[:size]
            length = int(differs.argmax()) if differs.any() else size
            if length > best:
                best, best_key = length, key
        if best_key is None:
            return 0, None
        self._entries[best_key] = self._entries.pop(best_key)  # the last to go
        return best, self._entries[best_key]

    def known(self, prompt: Tokens) -> int:
        return self.longest(prompt)[0]

    def add(self, prompts: Sequence[Tokens], cache: Any, mask: Tensor) -> None:
        """Keep prompts from the rows of a cache that has just read them."""
        if not self.capacity:
            return
        for row, prompt in enumerate(prompts):
            for key in [key for key in self._entries if prompt[: len(key)] == key]:
                del self._entries[key]  # the new one tells all that it did
            real = mask[row].bool()
            keys, values = (
                [getattr(layer, kind)[row][:, real] for layer in cache.layers]
                for kind in ("keys", "values")
            )
            self._entries[prompt] = _Entry(np.array(prompt, dtype=np.int64), keys, values)
        size = sum(entry.bytes for entry in self._entries.values())
        for key in list(self._entries):
            if size <= self.capacity:
                break
            size -= self._entries.pop(key).bytes
