"""Small logs, made by hand or by a law that is known."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace

import torch

from convgym.agents.model.batch import TokenisedEpisode
from convgym.agents.model.format import ConversationFormat, Tokens
from convgym.agents.model.language_model import LanguageModel

EASY, HARD, GOOD, BAD, REPLY, YES, NO = range(20, 27)
"""One token each."""


def conversation(
    format: ConversationFormat,
    customer: int,
    said: Sequence[int],
    outcome: float = 0.0,
    *,
    ending: int = REPLY,
) -> TokenisedEpisode:
    """Return a conversation of one word an utterance; all replies but the last are REPLY."""
    before, after = format.reply_frame
    ids, turns = [*before, customer, *after], [-1] * len((*before, customer, *after))
    for turn, word in enumerate(said):
        block = (*before, REPLY, *after) if turn else ()
        ids += [*block, word, format.end_id]
        turns += [*[-1] * len(block), turn, turn]
    return TokenisedEpisode(
        tuple(ids), tuple(turns), (0.0,) * len(ids), outcome, (*before, ending, *after)
    )


def pairs_of(log: Sequence[TokenisedEpisode]) -> tuple[list[Tokens], list[Tokens]]:
    """Return every state of a log and the response that it was given."""
    prompts, responses = [], []
    for episode in log:
        for turn, start in enumerate(episode.response_starts()):
            prompts.append(episode.ids[:start])
            responses.append(episode.ids[start : start + episode.turns.count(turn)])
    return prompts, responses


def synthetic_log(format: ConversationFormat, n: int) -> list[TokenisedEpisode]:
    """Of two words, easy customers want to hear at least one good one, hard ones two."""
    rng = random.Random(0)
    log = []
    for _ in range(n):
        customer, said = rng.choice([EASY, HARD]), rng.choices([GOOD, BAD], k=2)
        sold = said.count(GOOD) >= (1 if customer == EASY else 2)
        log.append(conversation(format, customer, said, float(sold), ending=YES if sold else NO))
    return log


def written_by(model: LanguageModel, log: Sequence[TokenisedEpisode]) -> list[TokenisedEpisode]:
    """Return the log with the model's own log-probabilities, as if it had written it."""
    written = []
    for episode in log:
        with torch.no_grad():
            logprobs = iter(model.logprobs(model.collate([episode])).tolist())
        own = tuple(next(logprobs) if turn >= 0 else torch.nan for turn in episode.turns)
        written.append(replace(episode, logprobs=own))
    return written
