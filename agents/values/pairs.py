"""Responses to branched states as token ids: how a learned Q is asked about true values."""

from __future__ import annotations

from collections.abc import Sequence

from convgym.agents.model.batch import tokenise
from convgym.agents.model.format import ConversationFormat, Tokens
from convgym.conversation import Response
from convgym.true_values import BranchState


def token_pairs(
    states: Sequence[BranchState],
    responses: Sequence[Sequence[Response]],
    format: ConversationFormat,
) -> tuple[list[Tokens], list[Tokens]]:
    """Return states and responses as token ids, pair by pair: what a fitted Q reads.

    The pairs of a state stand together, so an (S * K,) score becomes (S, K) by reshaping.
    """
    prompts: list[Tokens] = []
    spelt: list[Tokens] = []
    for state, candidates in zip(states, responses, strict=True):
        tokens = tokenise(state.episode, format)
        prompt = tokens.ids[: tokens.turns.index(state.turn)]
        for response in candidates:
            prompts.append(prompt)
            spelt.append(format.spelling(response) or format.response(response.text))
    return prompts, spelt
