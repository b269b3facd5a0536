"""Earlier rounds' conversations in a fit of Q: what each of their turns still counts."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from convgym.agents.model.batch import TokenisedEpisode
from convgym.agents.model.language_model import LanguageModel
from convgym.agents.values.fitting import WeightedEpisode
from convgym.agents.values.q_function import QFunctionConfig


def importance(log_ratios: Sequence[float]) -> list[float]:
    """Return the weight of every turn of a conversation that another policy held.

    A turn's return depends on what was said from it on: its weight is the probability ratio of
    these responses, exp of the sum of ``log_ratios`` from this turn on, capped at 1.
    """
    weights, total = [], 0.0
    for log_ratio in reversed(log_ratios):
        total += log_ratio
        weights.append(math.exp(min(0.0, total)))
    return weights[::-1]


@torch.inference_mode()
def reused(
    logs: Sequence[Sequence[TokenisedEpisode]], model: LanguageModel, config: QFunctionConfig
) -> list[WeightedEpisode]:
    """Return the conversations of earlier rounds, oldest first, weighted for fitting Q."""
    weighted: list[WeightedEpisode] = []
    size = model.batch_sizes.reading
    for age, log in zip(range(len(logs), 0, -1), logs, strict=True):
        recency = config.recency**age
        for start in range(0, len(log), size):
            part = log[start : start + size]
            if config.reuse == "recency":
                weighted += [
                    WeightedEpisode(episode, (recency,) * episode.n_turns) for episode in part
                ]
                continue
            batch = model.collate(part)
            ratios = model.logprobs(batch) - batch.logprobs[batch.response]
            sizes = batch.response.sum(dim=1).tolist()
            for episode, row in zip(part, ratios.split(sizes), strict=True):
                log_ratios = [0.0] * episode.n_turns
                turns = [turn for turn in episode.turns if turn >= 0]
                for turn, ratio in zip(turns, row.tolist(), strict=True):
                    log_ratios[turn] += ratio
                weights = tuple(recency * weight for weight in importance(log_ratios))
                weighted.append(WeightedEpisode(episode, weights))
    return weighted
