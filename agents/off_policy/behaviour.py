"""Who spoke in a log: log-probabilities that it holds, and a model's in place of unknown ones."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import torch

from convgym.agents.model.batch import TokenisedEpisode
from convgym.agents.model.language_model import LanguageModel


def without_logprobs(log: Sequence[TokenisedEpisode]) -> int:
    """Return in how many conversations a response's log-probabilities are unknown."""
    return sum(
        any(
            turn >= 0 and math.isnan(logprob)
            for turn, logprob in zip(episode.turns, episode.logprobs, strict=True)
        )
        for episode in log
    )


def with_estimated_behaviour(
    model: LanguageModel, log: Sequence[TokenisedEpisode]
) -> list[TokenisedEpisode]:
    """Return conversations with a model's log-probabilities where their own are unknown."""
    filled = []
    for episode in log:
        with torch.inference_mode():
            own = iter(model.logprobs(model.collate([episode])).tolist())
        logprobs = tuple(
            logprob if turn < 0 else _known(logprob, next(own))
            for turn, logprob in zip(episode.turns, episode.logprobs, strict=True)
        )
        filled.append(replace(episode, logprobs=logprobs))
    return filled


def _known(logprob: float, estimate: float) -> float:
    return estimate if math.isnan(logprob) else logprob
