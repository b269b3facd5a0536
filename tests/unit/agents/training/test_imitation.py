"""Imitation with weights: every response counts as often as it is told."""

from __future__ import annotations

from collections.abc import Callable

import torch

from convgym.agents.model.batch import TokenisedEpisode
from convgym.agents.model.language_model import LanguageModel
from convgym.agents.training.imitation import Imitation
from tests.unit.agents.logs import BAD, EASY, GOOD, HARD, conversation

torch.set_num_threads(1)

ONCE = Imitation(epochs=1, minibatch=4, learning_rate=1e-2)


def imitated(
    model: LanguageModel, log: list[TokenisedEpisode], weights: list[list[float]] | None
) -> tuple[LanguageModel, float]:
    copy = model.copy()
    loss = ONCE.imitate(copy, log, weights=weights, generator=torch.Generator().manual_seed(0))
    assert loss is not None
    return copy, loss


def test_the_loss_is_that_of_a_naive_loop(make_model: Callable[..., LanguageModel]) -> None:
    model = make_model(layers=1)
    log = [
        conversation(model.format, EASY, [GOOD, BAD]),
        conversation(model.format, HARD, [BAD, GOOD, GOOD]),
    ]
    weights = [[0.5, 2.0], [0.0, 3.0, 1.0]]
    total, tokens = 0.0, 0
    for episode, of_episode in zip(log, weights, strict=True):
        with torch.no_grad():
            logprobs = model.logprobs(model.collate([episode])).tolist()
        turns = [turn for turn in episode.turns if turn >= 0]
        total += sum(-of_episode[t] * logp for t, logp in zip(turns, logprobs, strict=True))
        tokens += len(turns)
    assert abs(imitated(model, log, weights)[1] - total / tokens) < 1e-4


def test_weights_of_1_change_nothing(make_model: Callable[..., LanguageModel]) -> None:
    model = make_model(layers=1)
    log = [conversation(model.format, EASY, [GOOD]), conversation(model.format, HARD, [BAD, GOOD])]
    plain, weighted = imitated(model, log, None)[0], imitated(model, log, [[1.0], [1.0, 1.0]])[0]
    assert all(
        torch.equal(plain.weights()[key], weighted.weights()[key]) for key in plain.weights()
    )
