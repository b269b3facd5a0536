"""TRL's DPO on pairs of conversations: what it compares, that it learns, what it leaves behind."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from convgym.agents.improvement.preferences import DPO, _PairCollator
from convgym.agents.model.batch import TokenisedEpisode
from convgym.agents.model.language_model import LanguageModel
from convgym.progress import Progress
from tests.unit.agents.logs import BAD, EASY, GOOD, HARD, conversation

torch.set_num_threads(1)

Pair = tuple[TokenisedEpisode, TokenisedEpisode]


@pytest.fixture
def model(make_model: Callable[..., LanguageModel]) -> LanguageModel:
    return make_model(layers=1)


@pytest.fixture
def pair(model: LanguageModel) -> Pair:
    format = model.format
    return conversation(format, EASY, [GOOD, GOOD], 1.0), conversation(format, HARD, [BAD])


def log_ratio(model: LanguageModel, reference: LanguageModel, episode: TokenisedEpisode) -> float:
    batch = model.collate([episode])
    with torch.no_grad():
        return float((model.logprobs(batch) - reference.logprobs(batch)).sum())


def preferring(
    solver: DPO, model: LanguageModel, pairs: list[Pair], seed: int = 0
) -> tuple[LanguageModel, list[dict[str, float]]]:
    told: list[dict[str, float]] = []

    def tell(news: Progress) -> None:
        told.append({**news.metrics, "done": news.done, "total": news.total})

    generator = torch.Generator().manual_seed(seed)
    better, metrics = solver.prefer(model, pairs, generator=generator, progress=tell)
    assert metrics.items() <= told[-1].items()
    return better, told


def test_the_customers_words_are_masked(model: LanguageModel, pair: Pair) -> None:
    rows = _PairCollator([pair, pair[::-1]], model.format.pad_id)([{"pair": 1}, {"pair": 0}])
    for row, episode in enumerate([pair[1], pair[0], pair[0], pair[1]]):
        n = len(episode.ids)
        assert tuple(rows["input_ids"][row, :n].tolist()) == episode.ids
        mask = [int(turn >= 0) for turn in episode.turns]
        assert rows["completion_mask"][row].tolist()[:n] == mask
        assert rows["completion_mask"][row, n:].sum() == 0
        assert rows["attention_mask"][row].sum() == n


@pytest.mark.parametrize("per_token", [False, True])
def test_trl_compares_what_our_policy_says(
    model: LanguageModel, pair: Pair, per_token: bool
) -> None:
    """The second step's margin is that of the first step's policy, by our own reckoning."""
    settings = {"learning_rate": 1e-3, "beta": 0.5, "per_token": per_token}
    before = {name: tensor.clone() for name, tensor in model.weights().items()}
    once, _ = preferring(DPO(epochs=1, **settings), model, [pair])  # type: ignore[arg-type]
    _, told = preferring(DPO(epochs=2, **settings), model, [pair])  # type: ignore[arg-type]
    assert [news["done"] for news in told] == [1, 2]
    assert told[0]["preference_loss"] == pytest.approx(0.6931, abs=1e-3)
    ratios = [log_ratio(once, model, episode) for episode in pair]
    # TRL's metric is of the sums, whatever the loss compares.
    assert told[1]["margin"] == pytest.approx(0.5 * (ratios[0] - ratios[1]), rel=1e-3)
    assert ratios[0] > ratios[1]
    assert all(torch.equal(before[name], tensor) for name, tensor in model.weights().items())
    assert once.network.get_output_embeddings().__class__ is torch.nn.Linear


def test_the_same_seed_gives_the_same_model(model: LanguageModel, pair: Pair) -> None:
    other = conversation(model.format, HARD, [GOOD], 1.0), conversation(model.format, EASY, [BAD])
    solver = DPO(minibatch=1, learning_rate=1e-2)
    models = [preferring(solver, model, [pair, other], seed)[0].weights() for seed in (0, 0, 2)]
    assert all(torch.equal(models[0][name], models[1][name]) for name in models[0])
    assert any(not torch.equal(models[0][name], models[2][name]) for name in models[0])
