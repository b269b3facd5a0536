"""Batched sampling of responses with a key-value cache that lasts from turn to turn.

All conversations decode together. A conversation's next prompt begins with its last prompt and
response, whose keys and values are still there, so that only the customer's reply is read anew.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from random import Random

import torch
from torch import Tensor
from transformers import PreTrainedModel

from convgym.agents.model.context import usable_context
from convgym.agents.model.devices import computing
from convgym.agents.model.format import ConversationFormat, Tokens
from convgym.agents.model.forward import WORTHWHILE, word_logits
from convgym.agents.model.kv_cache import RaggedCache
from convgym.agents.model.memory import AtOnce, GiveBack
from convgym.agents.model.sampling import (
    Sample,
    SamplingConfig,
    draw,
    samples,
    token_logprobs,
)
from convgym.errors import ConvgymError

SLACK = 128
"""Slots reserved beyond the present need, so that the cache is rarely moved."""

DROP = 0.5
"""Share of rows that must have ended before the others go on without them."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """What a response is sampled after: ``history`` ends with the last response, or is empty."""

    history: Tokens
    reply: Tokens

    @property
    def ids(self) -> Tokens:
        return self.history + self.reply


class ResponseSampler:
    """Samples responses from a causal language model.

    Args:
        network: a ``transformers`` causal language model with attention layers only.
        format: how conversations become token ids for this model.
        sampling: temperature and longest response.
    """

    def __init__(
        self, network: PreTrainedModel, format: ConversationFormat, sampling: SamplingConfig
    ) -> None:
        self._network, self._end_id = network, format.end_id
        self._device = network.device
        self._forbidden = torch.tensor(format.forbidden_ids, dtype=torch.long, device=self._device)
        self._temperature = sampling.temperature
        self._max_new_tokens = sampling.max_new_tokens
        self._layers: int = network.config.get_text_config().num_hidden_layers
        self._max_length = usable_context(network.config)
        self._at_once, self._give_back = AtOnce(), GiveBack()
        self.forget()

    def at_most(self, wanted: int) -> int:
        """Return how many responses to sample at once: fewer once memory did not hold so many."""
        most = self._at_once.most
        return wanted if most is None else min(wanted, most)

    def forget(self) -> None:
        """Drop the cache, as must be done whenever the model's weights change."""
        self._cache = self._waiting = self._new_cache(0, 0)
        # By what was read, oldest first: rows of the last call's cache, and of the waiting ones'.
        self._rows: dict[Tokens, int] = {}
        self._waiting_rows: dict[Tokens, int] = {}
        self._largest = 0

    def _new_cache(self, rows: int, capacity: int) -> RaggedCache:
        return RaggedCache(self._layers, rows, capacity, self._device)

    @torch.inference_mode()
    def sample(self, prompts: Sequence[Prompt], streams: Sequence[Random]) -> list[Sample]:
        """Sample a response to every prompt, each from the prompt's own stream of random numbers.

        What is drawn for a prompt depends on its stream alone, and not on what else is in the
        batch; log-probabilities do in their last digits. Where memory runs out, fewer are sampled
        together from then on, which is slower: only the last ones' conversations stay read.

        Prompts that continue a conversation of the last call are read from where it ended, and so
        are those of earlier calls, as many as the largest call since ``forget`` was larger than
        the last one: with customers who take their time a call is of whoever has answered.
        Among the others, histories that begin one another are read only once, and so are whole
        prompts without a history: many samples after one prompt, prompts at every turn of one
        conversation, or many continuations of one history are cheap. So is a system message that
        all of them begin with.

        Raises:
            ConvgymError: when a prompt leaves no room for a response in the model's context, or
                memory for a single response.
        """
        if not prompts:
            return []
        ids = [prompt.ids for prompt in prompts]
        longest = max(map(len, ids))
        if longest + self._max_new_tokens > self._max_length:
            raise ConvgymError(
                f"a conversation of {longest} tokens and a response of up to "
                f"{self._max_new_tokens} exceed the model's context of {self._max_length}: "
                "use fewer turns, a smaller max_new_tokens or another model"
            )
        numbers = self._numbers(streams)  # once: a stream that was read goes on

        def sample(part: slice) -> list[Sample]:
            return self._sample(prompts[part], ids[part], numbers[part])

        parts = self._at_once.over(len(prompts), sample, self.forget)
        self._give_back()
        return [sample for part in parts for sample in part]

    def _sample(
        self, prompts: Sequence[Prompt], ids: Sequence[Tokens], numbers: Tensor
    ) -> list[Sample]:
        """Sample a response to every prompt (B) from random numbers (B, max_new_tokens)."""
        known = self._recall(prompts, ids)
        blocks = [tokens[length:] for tokens, length in zip(ids, known, strict=True)]
        hidden = self._read(self._cache, blocks, known)
        lengths = torch.tensor([len(tokens) for tokens in ids], device=self._device)
        sampled = self._decode(hidden, lengths, numbers)
        # The last token of a response has been sampled but not read.
        self._rows = {
            (tokens + sample.token_ids)[:-1]: row
            for row, (tokens, sample) in enumerate(zip(ids, sampled, strict=True))
        }
        self._largest = max(self._largest, len(ids))
        return sampled

    def _recall(self, prompts: Sequence[Prompt], ids: Sequence[Tokens]) -> list[int]:
        """Make the cache's rows those of the prompts; return how much of each they know."""
        keys = [prompt.history[:-1] for prompt in prompts]
        old = {row: self._rows[key] for row, key in enumerate(keys) if key in self._rows}
        waited = {
            row: self._waiting_rows[key]
            for row, key in enumerate(keys)
            if row not in old and key in self._waiting_rows
        }
        fresh = [row for row in range(len(ids)) if row not in old and row not in waited]
        begun = {row: prompts[row].history or ids[row][:-1] for row in fresh}
        cache, new = self._read_together(list(begun.values()))
        known = [len(begun[row]) if row in begun else len(keys[row]) for row in range(len(ids))]
        waiting = self._waiting
        self._set_aside(set(keys), room=max(0, self._largest - len(ids)))
        unread = max(len(tokens) - length for tokens, length in zip(ids, known, strict=True))
        needed = max(max(map(len, ids)) + self._max_new_tokens, max(known) + unread)
        # Conversations that keep their place stay where they are; only then can others join.
        in_place = len(ids) == self._cache.rows and all(row == at for row, at in old.items())
        if not in_place or self._cache.capacity < needed:
            before, self._cache = self._cache, self._new_cache(len(ids), needed + SLACK)
            if old:
                self._cache.copy_rows(before, list(old.values()), list(old))
        if waited:
            self._cache.copy_rows(waiting, list(waited.values()), list(waited))
        if fresh:
            self._cache.copy_rows(cache, [new[begun[row]] for row in fresh], fresh)
        return known

    def _set_aside(self, called: Collection[Tokens], room: int) -> None:
        """Have the conversations that a call leaves out wait in a cache of their own.

        Args:
            called: what has been read of those that it does not leave out.
            room: for how many; those of the latest calls.
        """
        here = {key: row for key, row in self._rows.items() if key not in called}
        there = {key: row for key, row in self._waiting_rows.items() if key not in called}
        kept = [*there, *here][-room:] if room else []
        if kept == list(self._waiting_rows):
            return
        cache = self._new_cache(len(kept), max(map(len, kept), default=0))
        for source, rows in ((self._waiting, there), (self._cache, here)):
            to = [row for row, key in enumerate(kept) if key in rows]
            if to:
                cache.copy_rows(source, [rows[kept[row]] for row in to], to)
        self._waiting, self._waiting_rows = cache, {key: row for row, key in enumerate(kept)}

    def _read_together(self, begun: Sequence[Tokens]) -> tuple[RaggedCache, dict[Tokens, int]]:
        """Read beginnings of prompts; return the cache and the row of each."""
        rows: dict[Tokens, int] = {}
        distinct: list[Tokens] = []
        # In lexical order a beginning stands just before those that it begins.
        for tokens in sorted(set(begun), reverse=True):
            if not distinct or distinct[-1][: len(tokens)] != tokens:
                distinct.append(tokens)
            rows[tokens] = len(distinct) - 1
        length = max(map(len, distinct), default=0)
        cache = self._new_cache(len(distinct), length + SLACK)
        if length:
            # The first and the last in lexical order have no more in common than all have.
            shared = len(os.path.commonprefix([distinct[0], distinct[-1]]))  # noqa: RUF071
            if len(distinct) < 2 or shared < WORTHWHILE:
                shared = 0
            else:
                beginning = self._new_cache(1, shared)
                self._read(beginning, [distinct[0][:shared]], [0])
                cache.copy_rows(beginning, [0] * len(distinct), range(len(distinct)))
            blocks = [tokens[shared:] for tokens in distinct]
            self._read(cache, blocks, [shared] * len(distinct))
        return cache, rows

    def _read(self, cache: RaggedCache, blocks: Sequence[Tokens], known: Sequence[int]) -> Tensor:
        """Read a block of tokens per row; return the hidden state (B, width) after its last."""
        counts = torch.tensor([len(block) for block in blocks], device=self._device)
        width = int(counts.max())
        padded = [[*block, *[0] * (width - len(block))] for block in blocks]
        tokens = torch.tensor(padded, device=self._device)
        starts = torch.tensor(known, device=self._device)
        positions = starts[:, None] + torch.arange(width, device=self._device)
        hidden = self._forward(cache, tokens, positions)
        rows = torch.arange(len(blocks), device=self._device)
        return hidden[rows, (counts - 1).clamp(min=0)]

    def _forward(self, cache: RaggedCache, tokens: Tensor, positions: Tensor) -> Tensor:
        """Return the hidden states (B, new, width) of new tokens (B, new)."""
        mask = cache.place(positions)
        body = self._network.base_model
        with computing(body, self._device):
            output = body(
                input_ids=tokens,
                attention_mask=mask,
                # Pads may stand beyond the last position that the model knows.
                position_ids=positions.clamp(max=self._max_length - 1),
                past_key_values=cache,
                use_cache=True,
            )
        hidden: Tensor = output.last_hidden_state
        return hidden

    def _numbers(self, streams: Sequence[Random]) -> Tensor:
        """Return a random number (B, max_new_tokens) for every token that a row could have."""
        length = range(self._max_new_tokens)
        numbers = [[stream.random() for _ in length] for stream in streams]
        return torch.tensor(numbers, dtype=torch.float64, device="cpu")

    def _decode(self, hidden: Tensor, lengths: Tensor, numbers: Tensor) -> list[Sample]:
        """Sample token after token until every row has ended.

        Args:
            hidden: (B, width), every row's last hidden state.
            lengths: (B,) tokens read so far.
            numbers: (B, max_new_tokens) uniform random numbers, on the CPU.
        """
        n = len(lengths)
        device = self._device
        tokens = torch.zeros(n, self._max_new_tokens, dtype=torch.long, device=device)
        logprobs = torch.zeros(n, self._max_new_tokens, device=device)
        counts = torch.full((n,), self._max_new_tokens, device=device)
        # The rows still decoding, in a cache of their own once enough others have ended.
        rows, cache = torch.arange(n, device=device), self._cache
        ended = torch.zeros(n, dtype=torch.bool, device=device)
        for step in range(self._max_new_tokens):
            logits = word_logits(self._network, hidden)
            scores = token_logprobs(logits, self._forbidden, self._temperature)
            token = draw(scores, numbers[rows.cpu(), step])
            tokens[rows, step] = token
            logprobs[rows, step] = scores.gather(1, token[:, None])[:, 0]
            ends = (token == self._end_id) & ~ended
            counts[rows[ends]] = step + 1
            ended |= ends
            if ended.all() or step + 1 == self._max_new_tokens:
                break
            if ended.sum() >= DROP * len(rows):
                cache = self._keep(cache, rows, ~ended)
                rows, token, ended = rows[~ended], token[~ended], ended[~ended]
            # Rows that have ended go on idly; what they write is overwritten in the next turn.
            hidden = self._forward(cache, token[:, None], (lengths[rows] + step)[:, None])[:, 0]
        if cache is not self._cache:
            self._cache.copy_rows(cache, range(cache.rows), rows.tolist())
        return samples(tokens, logprobs, counts)

    def _keep(self, cache: RaggedCache, rows: Tensor, keep: Tensor) -> RaggedCache:
        """Return a cache of some rows of ``cache``, after bringing all of them home."""
        if cache is not self._cache:
            self._cache.copy_rows(cache, range(cache.rows), rows.tolist())
        index = keep.nonzero()[:, 0].tolist()
        kept = self._new_cache(len(index), cache.capacity)
        kept.copy_rows(cache, index, range(len(index)))
        return kept
