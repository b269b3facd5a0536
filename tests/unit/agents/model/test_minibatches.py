"""Minibatches: every conversation once, little padding, an order that the generator draws."""

from __future__ import annotations

import random
from collections.abc import Callable

import torch

from convgym.agents.model.batch import TokenisedEpisode
from convgym.agents.model.language_model import LanguageModel
from convgym.agents.model.minibatches import neighbours, shuffled


def test_batches_hold_every_episode_once_by_length(
    make_model: Callable[..., LanguageModel],
) -> None:
    rng = random.Random(0)
    episodes = [
        # The first id names the conversation.
        TokenisedEpisode((number, *[1] * n), (-1, *[0] * n), (0.0,) * (n + 1), float(number % 2))
        for number, n in enumerate(rng.choices(range(1, 40), k=23))
    ]
    model = make_model()
    made = model.batches(episodes, 5)
    assert [len(batch) for batch in made] == [5, 5, 5, 5, 3]
    numbers = [number for batch in made for number in batch.ids[:, 0].tolist()]
    assert sorted(numbers) == list(range(23))
    lengths = [length for batch in made for length in batch.lengths.tolist()]
    assert lengths == sorted(len(episode.ids) for episode in episodes)
    assert [o for batch in made for o in batch.outcomes.tolist()] == [n % 2 for n in numbers]
    assert model.batches([], 5) == []
    assert [i for part in neighbours(episodes, 5) for i in part] == numbers


def test_shuffling_is_a_permutation_drawn_from_the_generator() -> None:
    order, same, other = (shuffled(50, torch.Generator().manual_seed(seed)) for seed in (0, 0, 1))
    assert order == same != other
    assert sorted(order) == sorted(other) == list(range(50))
