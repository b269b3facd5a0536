"""Best-of-n: what is sampled, what wins, and what is imitated."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

from convgym.agents.improvement.best_of_n import BestOfN
from convgym.agents.improvement.problem import SingleTurnProblem
from convgym.agents.model.batch import TokenisedEpisode
from convgym.agents.model.format import ConversationFormat, Tokens
from convgym.agents.model.generation import Prompt, ResponseSampler
from convgym.agents.model.language_model import LanguageModel
from convgym.errors import ConvgymError
from convgym.progress import Progress
from tests.unit.agents.logs import EASY, HARD, conversation

torch.set_num_threads(1)

MakeModel = Callable[..., LanguageModel]


def share_of_even(response: Tokens) -> float:
    return sum(token % 2 == 0 for token in response) / len(response)


class Taste:
    """Likes even numbers, and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[Tokens, Tokens]] = []

    def __call__(self, prompts: Sequence[Tokens], responses: Sequence[Tokens]) -> Tensor:
        self.asked += zip(prompts, responses, strict=True)
        return liked(responses)


def liked(responses: Sequence[Tokens]) -> Tensor:
    return torch.tensor([share_of_even(response) for response in responses])


@pytest.fixture
def model(make_model: MakeModel) -> LanguageModel:
    return make_model(layers=1, max_new_tokens=6)


@pytest.fixture
def few_words(format: ConversationFormat) -> ConversationFormat:
    format.forbidden_ids = (*format.forbidden_ids, *range(16, len(format.tokenizer)))
    return format


def some_log(format: ConversationFormat) -> list[TokenisedEpisode]:
    """Return conversations of different lengths, so that they are visited in another order."""
    return [
        conversation(format, state, [8] * n)
        for n, state in ((3, EASY), (1, HARD), (2, EASY), (2, HARD), (1, EASY))
    ]


def equal(weights: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return all(torch.equal(weights[name], other[name]) for name in weights | other)


def solve(
    model: LanguageModel, log: Sequence[TokenisedEpisode], score: Any, **settings: Any
) -> tuple[LanguageModel, dict[str, float], list[Progress]]:
    told: list[Progress] = []
    improved, metrics = BestOfN(**settings).improve(
        model,
        SingleTurnProblem(log, score, [()] * len(log)),
        generator=torch.Generator().manual_seed(0),
        progress=told.append,
    )
    return improved, metrics, told


def test_every_state_is_judged_with_its_samples(
    model: LanguageModel, few_words: ConversationFormat
) -> None:
    log, score = some_log(few_words), Taste()
    _, metrics, told = solve(model, log, score, samples=3, minibatch=2, epochs=2)
    states = [episode.ids[:start] for episode in log for start in episode.response_starts()]
    assert sorted(prompt for prompt, _ in score.asked) == sorted(states * 3)
    # What the best gains over the mean of its state.
    groups = liked([response for _, response in score.asked]).view(-1, 3)
    gain = float((groups.amax(1) - groups.mean(1)).mean())
    assert metrics["score_gain"] == pytest.approx(gain)
    assert gain > 0.1
    assert [(news.done, news.total) for news in told] == [(i, 9) for i in range(1, 10)]


def test_only_winners_are_imitated(model: LanguageModel, few_words: ConversationFormat) -> None:
    """The loss of a step that changes nothing is that of the winners under the reference."""
    log, score = some_log(few_words), Taste()
    improved, metrics, _ = solve(model, log, score, samples=3, minibatch=2, learning_rate=0.0)
    groups = [score.asked[i : i + 3] for i in range(0, len(score.asked), 3)]
    losses: list[list[float]] = []
    for group in groups:
        assert len({prompt for prompt, _ in group}) == 1
        best = int(liked([response for _, response in group]).argmax())
        prompt, response = group[best]
        with torch.no_grad():
            logits = model.network(input_ids=torch.tensor([prompt + response])).logits[0]
        logits[:, list(few_words.forbidden_ids)] = -torch.inf
        scored = logits.log_softmax(-1)
        losses.append([-float(scored[len(prompt) - 1 + i, t]) for i, t in enumerate(response)])
    # Conversations of 1, 1, 2, 2 and 3 turns, two in a minibatch; the mean of minibatches' means.
    parts = [losses[:2], losses[2:6], losses[6:]]
    means = [sum(map(sum, part)) / sum(map(len, part)) for part in parts]
    assert metrics["imitation_loss"] == pytest.approx(sum(means) / 3, rel=1e-4)
    assert equal(improved.weights(), model.weights())


def test_the_policy_comes_to_say_what_scores_more(
    model: LanguageModel, few_words: ConversationFormat
) -> None:
    before = {name: value.clone() for name, value in model.weights().items()}
    log = [conversation(few_words, state, [8]) for state in (EASY, HARD)] * 16
    improved, _, _ = solve(
        model, log, Taste(), samples=4, epochs=6, minibatch=8, learning_rate=5e-3
    )
    assert equal(model.weights(), before)

    def mean(model: LanguageModel) -> float:
        sampler = ResponseSampler(model.network, model.format, model.sampling)
        prompts = [Prompt((), episode.ids[: episode.response_starts()[0]]) for episode in log * 8]
        samples = sampler.sample(prompts, [random.Random(i) for i in range(len(prompts))])
        return float(liked([sample.token_ids for sample in samples]).mean())

    assert mean(improved) > mean(model) + 0.1
    # What n allows for, and half of it again for a small sample that is learnt by heart.
    assert 0 < improved.divergence(model, log) < 1.5 * (math.log(4) - 3 / 4)


def test_one_sample_is_no_choice() -> None:
    with pytest.raises(ConvgymError, match="best-of-n needs at least 2 samples, got 1"):
        BestOfN(samples=1)
