"""Candidates: fresh responses to the states of logged conversations, and their scores."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache

from convgym.agents.improvement.problem import SingleTurnProblem
from convgym.agents.model.batch import TokenisedEpisode, collate
from convgym.agents.model.branching import Branches
from convgym.agents.model.format import Tokens
from convgym.agents.model.forward import read
from convgym.agents.model.packing import Candidate
from convgym.agents.model.sampling import SamplingConfig
from convgym.agents.training.minibatches import neighbours

_CONVERSATIONS_AT_ONCE = 32


def distinct(
    candidates: Sequence[Sequence[Candidate]],
) -> tuple[list[list[Candidate]], Tensor, Tensor]:
    """Return every different candidate of each conversation once: equal ones are read together.

    Returns:
        The candidates; for each, where its first equal stood among all of them, counted through;
        and how many equals there are.
    """
    different: list[list[Candidate]] = []
    first: list[int] = []
    counts: list[float] = []
    position = 0
    for ones in candidates:
        places: dict[tuple[int, Tokens], int] = {}
        kept: list[Candidate] = []
        for one in ones:
            place = places.setdefault((one.turn, one.token_ids), len(counts))
            if place == len(counts):
                kept.append(one)
                first.append(position)
                counts.append(0.0)
            counts[place] += 1
            position += 1
        different.append(kept)
    return different, torch.tensor(first), torch.tensor(counts)


@torch.inference_mode()
def sample_candidates(
    model: Any,
    conversations: Sequence[TokenisedEpisode],
    samples: int,
    speech: SamplingConfig,
    generator: torch.Generator,
) -> list[list[Candidate]]:
    """Sample responses to every state of every conversation; each is read once."""
    format, body = speech.format, model.base_model
    candidates: list[list[Candidate]] = [[] for _ in conversations]
    for part in neighbours(conversations, _CONVERSATIONS_AT_ONCE):
        states = [
            (row, turn, start)
            for row, i in enumerate(part)
            for turn, start in enumerate(conversations[i].response_starts())
            for _ in range(samples)
        ]
        rows, turns, starts = torch.tensor(states).T
        batch = collate([conversations[i] for i in part], format.pad_id)
        cache = DynamicCache(config=body.config)
        hidden = read(body, batch.ids[:, : int(starts.max())], cache=cache)
        sampled = Branches(model, cache, rows, starts, speech.max_new_tokens).sample(
            hidden[rows, starts - 1],
            generator,
            end_id=format.end_id,
            forbidden_ids=format.forbidden_ids,
            temperature=speech.temperature,
            max_new_tokens=speech.max_new_tokens,
        )
        for row, turn, one in zip(rows.tolist(), turns.tolist(), sampled, strict=True):
            candidates[part[row]].append(Candidate(turn, one.token_ids, one.token_logprobs))
    return candidates


def scores_of(
    problem: SingleTurnProblem,
    conversations: Sequence[TokenisedEpisode],
    candidates: Sequence[Sequence[Candidate]],
) -> Tensor:
    """Return the scores (N,) of all candidates, conversation by conversation."""
    return problem.score(
        [
            episode.ids[: episode.turns.index(one.turn)]
            for episode, ones in zip(conversations, candidates, strict=True)
            for one in ones
        ],
        [one.token_ids for ones in candidates for one in ones],
    )
