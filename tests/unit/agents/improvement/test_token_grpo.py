"""GRPO on synthetic single-turn problems: units of advantages, weights of responses, the end."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

from convgym.agents.improvement import fresh
from convgym.agents.improvement.problem import SingleTurnProblem
from convgym.agents.improvement.token_grpo import TokenGRPO
from convgym.agents.model.batch import TokenisedEpisode
from convgym.agents.model.format import ConversationFormat, Tokens
from convgym.agents.model.language_model import LanguageModel, exact_kl
from convgym.agents.model.packing import Candidate
from convgym.agents.training.optim import Optimiser
from convgym.errors import ConvgymError
from tests.unit.agents.logs import EASY, HARD, conversation

torch.set_num_threads(1)


@pytest.fixture
def model(make_model: Callable[..., LanguageModel]) -> LanguageModel:
    return make_model(layers=1, max_new_tokens=6)


@pytest.fixture
def log(format: ConversationFormat) -> list[TokenisedEpisode]:
    return [conversation(format, EASY, (8, 9)), conversation(format, HARD, (8,))]


def taste(prompts: Sequence[Tokens], responses: Sequence[Tokens]) -> Tensor:
    """Return the share of even numbers; at long prompts differences are a hundredth of that."""
    shares = [sum(token % 2 == 0 for token in response) / len(response) for response in responses]
    scales = [1.0 if len(prompt) == min(map(len, prompts)) else 0.01 for prompt in prompts]
    return torch.tensor(shares) * torch.tensor(scales)


def alike(prompts: Sequence[Tokens], responses: Sequence[Tokens]) -> Tensor:
    return torch.full((len(prompts),), 0.3)


def problem(log: Sequence[TokenisedEpisode], score: Any) -> SingleTurnProblem:
    return SingleTurnProblem(log, score, [(0.0,) * sum(t >= 0 for t in e.turns) for e in log])


def test_a_step_goes_down_the_papers_gradient(
    model: LanguageModel, log: list[TokenisedEpisode], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every state in its own unit, every response alike however long."""
    kl, samples, drawn = 0.3, 4, list[tuple[list[TokenisedEpisode], list[list[Candidate]]]]()
    gradients: list[list[Tensor]] = []
    parameters: list[Tensor] = []
    sample = LanguageModel.sample

    def sampled(
        self: LanguageModel, episodes: list[TokenisedEpisode], n: int, generator: torch.Generator
    ) -> list[list[Candidate]]:
        drawn.append((list(episodes), sample(self, episodes, n, generator)))
        parameters.extend(self.trained_parameters())
        return drawn[-1][1]

    def updated(self: Optimiser) -> None:
        gradients.append([p.grad.clone() for p in parameters if p.grad is not None])

    monkeypatch.setattr(LanguageModel, "sample", sampled)
    monkeypatch.setattr(Optimiser, "update", updated)
    TokenGRPO(steps=1, samples=samples, kl_coefficient=kl).improve(
        model, problem(log, taste), generator=torch.Generator().manual_seed(0)
    )
    (found,) = gradients
    ((episodes, candidates),) = drawn

    # One plain row for every response.
    states = [
        (episode.ids[: episode.response_starts()[turn]], [c for c in of_one if c.turn == turn])
        for episode, of_one in zip(episodes, candidates, strict=True)
        for turn in range(episode.n_turns)
    ]
    pairs = [(state, c.token_ids) for state, responses in states for c in responses]
    scores = taste([state for state, _ in pairs], [ids for _, ids in pairs]).tolist()
    gains = []
    for number, (state, ids) in enumerate(pairs):
        first = number - number % samples
        group = scores[first : first + samples]
        spread = statistics.stdev(group)
        advantage = (scores[number] - statistics.mean(group)) / spread if spread else 0.0
        turns = (*[-1] * len(state), *[0] * len(ids))
        row = TokenisedEpisode(state + ids, turns, (0.0,) * len(turns), 0.0)
        batch = model.collate([row])
        distributions = model.distributions(batch)
        logprobs = distributions.gather(1, torch.tensor(ids)[:, None])[:, 0]
        ratios = (logprobs - logprobs.detach()).exp()
        divergence = exact_kl(distributions, distributions.detach())
        gains.append((ratios * advantage - kl * divergence).mean())
    expected = torch.autograd.grad(-torch.stack(gains).mean(), model.trained_parameters())
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-2, atol=1e-4)
    assert max(each.abs().max() for each in found) > 1e-3


def test_responses_weigh_alike_or_their_tokens_do(
    model: LanguageModel, log: list[TokenisedEpisode]
) -> None:
    scored = fresh.sample_scored(model, problem(log, taste), 2, 3, torch.Generator().manual_seed(0))
    batch = fresh.merged(scored, scored.scores)
    responses, tokens = (
        fresh.packed_minibatches(batch, model, model, 2, responses_alike=alike)[0][0]
        for alike in (True, False)
    )
    of_response = torch.zeros(len(responses.packed.end_rows)).index_add(
        0, responses.packed.response, responses.weights
    )
    torch.testing.assert_close(of_response, torch.cat(list(batch.counts)))
    assert torch.equal(tokens.weights, tokens.counts)
    assert responses.responses == tokens.responses == 9


def test_equal_scores_move_nothing(model: LanguageModel, log: list[TokenisedEpisode]) -> None:
    improved, metrics = TokenGRPO(steps=2, learning_rate=1e-4).improve(
        model, problem(log, alike), generator=torch.Generator().manual_seed(0)
    )
    assert metrics["fresh_score_sd_within_states"] == pytest.approx(0.0, abs=1e-6)
    assert improved.divergence(model, log) < 1e-3


def test_a_step_beyond_its_target_goes_back_to_where_it_was_within(
    model: LanguageModel, log: list[TokenisedEpisode], monkeypatch: pytest.MonkeyPatch
) -> None:
    befores: list[list[Tensor]] = []
    update = Optimiser.update

    def recorded(self: Optimiser) -> None:
        befores.append([parameter.clone() for parameter in self._parameters])
        update(self)

    monkeypatch.setattr(Optimiser, "update", recorded)
    step = TokenGRPO(steps=40, learning_rate=5e-3, kl_coefficient=0.0, target_kl=0.1)
    improved, metrics = step.improve(
        model, problem(log, taste), generator=torch.Generator().manual_seed(0)
    )
    assert 1 < len(befores) < 40
    assert metrics["kl_of_pass"] > 0.1
    assert all(map(torch.equal, improved.trained_parameters(), befores[-1]))


def test_a_last_update_beyond_the_target_is_taken_back_too(
    model: LanguageModel, log: list[TokenisedEpisode]
) -> None:
    step = TokenGRPO(steps=1, learning_rate=0.1, target_kl=0.01)
    improved, metrics = step.improve(
        model, problem(log, taste), generator=torch.Generator().manual_seed(0)
    )
    assert metrics["kl_of_pass"] < 1e-5  # no minibatch has seen it
    assert metrics["taken_back"] == 1
    assert all(map(torch.equal, improved.trained_parameters(), model.trained_parameters()))


def test_fewer_than_two_samples_cannot_be_compared() -> None:
    with pytest.raises(ConvgymError, match=r"samples must be at least 2, .* got 1"):
        TokenGRPO(samples=1)
