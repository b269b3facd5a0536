"""Many responses to the states of one conversation, packed into one row of tokens.

A row holds a conversation, then any number of other responses to its states. Each of these sees
the conversation up to its state and itself, and sits at the positions that follow its state. So
a body reads a conversation once for all its states and all responses to them; packing one
response to every state of a conversation of n turns takes about twice the conversation's tokens,
where one row a response would take about n / 2 times as many.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel

from convgym.agents.model.batch import TokenisedEpisode
from convgym.agents.model.format import Tokens
from convgym.agents.model.forward import read

_PAD = -1
_Branch = tuple[int, Tokens, tuple[float, ...]]  # where it leaves the row, its tokens, their logs


@dataclass(frozen=True, slots=True)
class Candidate:
    """A response that could have been given at turn ``turn`` of a conversation."""

    turn: int
    token_ids: Tokens
    token_logprobs: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Packed:
    """B rows of T tokens that hold N tokens of R candidates.

    The first three describe all tokens, the rest the candidates' tokens and the candidates.
    """

    ids: Tensor
    """(B, T) token ids."""
    positions: Tensor
    """(B, T) position of each token in its own conversation."""
    mask: Tensor
    """(B, 1, T, T) bool, True where the token of the third axis sees that of the fourth."""
    rows: Tensor
    """(N,) row of each candidate token."""
    columns: Tensor
    """(N,) column of each candidate token."""
    parents: Tensor
    """(N,) column of the token before it: the state's last token for a response's first."""
    logprobs: Tensor
    """(N,) log-probabilities under the policy that sampled them."""
    response: Tensor
    """(N,) number of the candidate, 0 .. R - 1, in the order in which they were given."""
    end_rows: Tensor
    """(R,) row of each candidate's last token."""
    state_columns: Tensor
    """(R,) column of the last token of each candidate's state."""
    end_columns: Tensor
    """(R,) column of each candidate's last token."""


def pack(
    conversations: Sequence[tuple[TokenisedEpisode, Sequence[Candidate]]],
    pad_id: int,
    device: torch.device,
) -> Packed:
    """Pack conversations, each with candidate responses to some of its states."""
    rows: list[tuple[Tokens, list[_Branch]]] = []
    for episode, candidates in conversations:
        branches = [
            (episode.turns.index(c.turn), c.token_ids, c.token_logprobs) for c in candidates
        ]
        # The last state that is needed ends the row's conversation.
        length = max((start for start, _, _ in branches), default=0)
        rows.append((episode.ids[:length], branches))
    return _pack(rows, pad_id, device)


def pack_pairs(
    prompts: Sequence[Tokens],
    responses: Sequence[Tokens],
    pad_id: int,
    device: torch.device,
    rows: int = 16,
) -> Iterator[tuple[list[int], Packed]]:
    """Pack responses to any prompts, those of one conversation together.

    Yields packs of up to ``rows`` rows with the indices of their responses, in the pack's order.
    Log-probabilities are unknown: NaN.
    """
    # In lexical order a prompt stands just before those that it begins.
    groups: list[tuple[Tokens, list[int]]] = []
    for index in sorted(range(len(prompts)), key=prompts.__getitem__, reverse=True):
        prompt = prompts[index]
        if not groups or groups[-1][0][: len(prompt)] != prompt:
            groups.append((prompt, []))
        groups[-1][1].append(index)
    # Neighbours in length: little padding.
    groups.sort(key=lambda group: len(group[0]) + sum(len(responses[i]) for i in group[1]))
    for start in range(0, len(groups), rows):
        part = groups[start : start + rows]
        packed = _pack(
            [
                (
                    ids,
                    [
                        (len(prompts[i]), responses[i], (math.nan,) * len(responses[i]))
                        for i in members
                    ],
                )
                for ids, members in part
            ],
            pad_id,
            device,
        )
        yield [i for _, members in part for i in members], packed


def _pack(
    conversations: Sequence[tuple[Tokens, Sequence[_Branch]]], pad_id: int, device: torch.device
) -> Packed:
    ids: list[list[int]] = []
    positions: list[list[int]] = []
    owners: list[list[int]] = []  # 0 for the conversation, r for its r-th candidate
    limits: list[list[int]] = []  # how many of the conversation's tokens a token sees
    tokens: list[tuple[int, int, int, float, int]] = []
    ends: list[tuple[int, int, int]] = []
    for row, (conversation, branches) in enumerate(conversations):
        length = len(conversation)
        ids.append(list(conversation))
        positions.append(list(range(length)))
        owners.append([0] * length)
        limits.append(list(range(1, length + 1)))
        for owner, (start, spelt, logprobs) in enumerate(branches, start=1):
            first = len(ids[row])
            ids[row] += spelt
            positions[row] += range(start, start + len(spelt))
            owners[row] += [owner] * len(spelt)
            limits[row] += [start] * len(spelt)
            tokens += [
                (row, first + i, first + i - 1 if i else start - 1, logprob, len(ends))
                for i, logprob in enumerate(logprobs)
            ]
            ends.append((row, start - 1, first + len(spelt) - 1))
    width = max(map(len, ids))

    def padded(values: list[list[int]], fill: int) -> Tensor:
        rows = [[*row, *[fill] * (width - len(row))] for row in values]
        return torch.tensor(rows, device=device)

    rows, columns, parents, scores, response = zip(*tokens, strict=True)
    end_rows, state_columns, end_columns = zip(*ends, strict=True)
    return Packed(
        ids=padded(ids, pad_id),
        positions=padded(positions, 0),
        mask=_mask(padded(owners, _PAD), padded(limits, 0)),
        rows=torch.tensor(rows, device=device),
        columns=torch.tensor(columns, device=device),
        parents=torch.tensor(parents, device=device),
        logprobs=torch.tensor(scores, device=device),
        response=torch.tensor(response, device=device),
        end_rows=torch.tensor(end_rows, device=device),
        state_columns=torch.tensor(state_columns, device=device),
        end_columns=torch.tensor(end_columns, device=device),
    )


def _mask(owners: Tensor, limits: Tensor) -> Tensor:
    """Return who sees whom (B, 1, T, T): the conversation so far, and oneself so far."""
    columns = torch.arange(owners.shape[1], device=owners.device)
    conversation = (owners == 0)[:, None, :] & (columns < limits[:, :, None])
    oneself = (owners[:, :, None] == owners[:, None, :]) & (columns <= columns[:, None])
    return (conversation | oneself)[:, None]


def hidden_states(
    body: PreTrainedModel, packed: Packed, cache: DynamicCache | None = None
) -> Tensor:
    """Return a body's hidden states (B, T, width) on packed rows; see ``read`` for the cache."""
    return read(body, packed.ids, packed.mask, packed.positions, cache)
