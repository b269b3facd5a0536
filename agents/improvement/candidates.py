"""Fresh responses to the states of logged conversations: their scores, and equal ones as one."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from convgym.agents.improvement.problem import SingleTurnProblem
from convgym.agents.model.batch import TokenisedEpisode
from convgym.agents.model.format import Tokens
from convgym.agents.model.packing import Candidate


def distinct(
    candidates: Sequence[Sequence[Candidate]],
) -> tuple[list[list[Candidate]], list[int], list[float]]:
    """Return every different candidate of each conversation once: equal ones are read together.

    Returns:
        The candidates; for each, where its first equal stood among all of them, counted through;
        and how many equals there are.
    """
    different: list[list[Candidate]] = []
    first: list[int] = []
    counts: list[float] = []
    position = 0
    for of_conversation in candidates:
        places: dict[tuple[int, Tokens], int] = {}
        kept: list[Candidate] = []
        for candidate in of_conversation:
            place = places.setdefault((candidate.turn, candidate.token_ids), len(counts))
            if place == len(counts):
                kept.append(candidate)
                first.append(position)
                counts.append(0.0)
            counts[place] += 1
            position += 1
        different.append(kept)
    return different, first, counts


def scores_of(
    problem: SingleTurnProblem,
    conversations: Sequence[TokenisedEpisode],
    candidates: Sequence[Sequence[Candidate]],
) -> Tensor:
    """Return the scores (N,) of all candidates, conversation by conversation."""
    prompts = [
        episode.ids[: episode.turns.index(candidate.turn)]
        for episode, of_conversation in zip(conversations, candidates, strict=True)
        for candidate in of_conversation
    ]
    responses = [
        candidate.token_ids for of_conversation in candidates for candidate in of_conversation
    ]
    return problem.score(prompts, responses)


def split_as(values: Tensor, groups: Sequence[Sequence[Candidate]]) -> tuple[Tensor, ...]:
    """Return what belongs to candidates (N,) in parts, one a conversation."""
    return torch.split(values, [len(group) for group in groups])
