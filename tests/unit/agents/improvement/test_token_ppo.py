"""Token-level PPO on synthetic single-turn problems, from logged and from fresh responses."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from convgym.agents.improvement import fresh
from convgym.agents.improvement.candidates import distinct
from convgym.agents.improvement.problem import SingleTurnProblem
from convgym.agents.improvement.token_ppo import TokenPPO, adapted
from convgym.agents.model.batch import TokenisedEpisode
from convgym.agents.model.format import ConversationFormat, Tokens
from convgym.agents.model.language_model import LanguageModel, exact_kl
from convgym.agents.model.packing import Candidate
from convgym.agents.model.sampling import SamplingConfig
from convgym.agents.training.optim import Optimiser
from convgym.errors import ConvgymError
from convgym.progress import Progress
from tests.unit.agents.logs import BAD, EASY, GOOD, HARD, conversation, written_by

torch.set_num_threads(1)

MakeModel = Callable[..., LanguageModel]


@pytest.fixture
def model(make_model: MakeModel) -> LanguageModel:
    return make_model(layers=1, max_new_tokens=6)


@pytest.fixture
def few_words(format: ConversationFormat) -> ConversationFormat:
    """Leave a dozen words, half of them even numbers."""
    format.forbidden_ids = (*format.forbidden_ids, *range(16, len(format.tokenizer)))
    return format


def share_of_even(response: Tokens) -> float:
    return sum(token % 2 == 0 for token in response) / len(response)


def taste(prompts: Sequence[Tokens], responses: Sequence[Tokens]) -> Tensor:
    """Return the share of even numbers in a response."""
    return torch.tensor([share_of_even(response) for response in responses])


def nothing(prompts: Sequence[Tokens], responses: Sequence[Tokens]) -> Tensor:
    return torch.zeros(len(prompts))


def problem(log: Sequence[TokenisedEpisode], score: Any = nothing) -> SingleTurnProblem:
    """Return a problem whose logged tokens are worth the outcome, give or take 1/2."""
    return SingleTurnProblem(
        log,
        score,
        [(episode.outcome - 0.5,) * sum(t >= 0 for t in episode.turns) for episode in log],
    )


def solve(
    model: LanguageModel, given: SingleTurnProblem, **settings: Any
) -> tuple[LanguageModel, list[Mapping[str, float]]]:
    """Return the improved model and the metrics after every pass or batch."""
    before = {name: value.clone() for name, value in model.weights().items()}
    told: list[Mapping[str, float]] = []

    def tell(news: Progress) -> None:
        told.append(dict(news.metrics))

    improved, metrics = TokenPPO(**settings).improve(
        model,
        given,
        generator=torch.Generator().manual_seed(0),
        progress=tell,
    )
    assert told[-1] == metrics
    # The reference stays as it is, to the last bit.
    assert all(torch.equal(value, before[name]) for name, value in model.weights().items())
    return improved, told


def logprobs(model: LanguageModel, log: Sequence[TokenisedEpisode]) -> list[float]:
    """Return the log-probability of all responses of every conversation."""
    batch = model.collate(log)
    with torch.no_grad():
        found = model.logprobs(batch)
    return [float(part.sum()) for part in found.split(batch.response.sum(dim=1).tolist())]


def log_of(model: LanguageModel, copies: int) -> list[TokenisedEpisode]:
    pairs = [
        conversation(model.format, state, [word], float(word == GOOD))
        for state in (EASY, HARD)
        for word in (GOOD, BAD)
    ]
    return written_by(model, pairs) * copies


def test_what_sold_becomes_more_likely_and_what_did_not_less(
    model: LanguageModel, format: ConversationFormat
) -> None:
    log = log_of(model, 8)
    before = logprobs(model, log[:4])
    improved, told = solve(
        model, problem(log), epochs=3, fresh_steps=0, learning_rate=1e-3, minibatch=8
    )
    after = logprobs(improved, log[:4])
    for episode, old, new in zip(log, before, after, strict=False):
        assert new > old + 0.05 if episode.outcome else new < old - 0.05
    kl = [metrics["kl_of_pass"] for metrics in told]
    assert kl == sorted(kl)
    assert kl[-1] > 0


def test_equal_scores_move_nothing(model: LanguageModel, format: ConversationFormat) -> None:
    log = written_by(model, [conversation(format, EASY, [w], 1.0) for w in (GOOD, BAD)])
    before = logprobs(model, log)
    # Adam scales up even rounding errors in gradients, hence no equality.
    for settings in ({"epochs": 2, "fresh_steps": 0}, {"fresh_steps": 2}):
        improved, _ = solve(model, problem(log), learning_rate=1e-4, **settings)
        assert logprobs(improved, log) == pytest.approx(before, abs=0.02)


def test_a_first_batch_without_differences_is_no_unit(
    model: LanguageModel, few_words: ConversationFormat
) -> None:
    """The scale of scores is found where there is one, and the step goes on as usual from there."""
    calls = 0

    def late(prompts: Sequence[Tokens], responses: Sequence[Tokens]) -> Tensor:
        nonlocal calls
        calls += 1
        return taste(prompts, responses) if calls > 1 else torch.full((len(prompts),), 0.3)

    log = [conversation(few_words, state, [8, 9], 0.0) for state in (EASY, HARD) * 8]
    settings: dict[str, Any] = {"minibatch": 8, "learning_rate": 1e-4, "target_kl": 100.0}
    _, told = solve(model, problem(log, late), fresh_steps=3, **settings)
    _, plain = solve(model, problem(log, taste), fresh_steps=2, **settings)
    assert told[0]["kl_of_pass"] < 1e-4
    assert told[-1]["fresh_score_scale"] == pytest.approx(plain[-1]["fresh_score_scale"], rel=0.3)


def test_the_step_ends_at_its_target_divergence(
    model: LanguageModel, format: ConversationFormat
) -> None:
    log, target = log_of(model, 8), 0.01
    _, told = solve(
        model,
        problem(log),
        epochs=50,
        fresh_steps=0,
        learning_rate=1e-3,
        kl_coefficient=0.0,
        target_kl=target,
    )
    assert 1 < len(told) < 50
    assert all(metrics["kl_of_pass"] <= target for metrics in told[:-1])
    assert told[-1]["kl_of_pass"] > target


@pytest.mark.parametrize(
    ("passes", "batches", "target"),
    [(1, 0, 5e-5), (0, 1, 0.02)],
    ids=["the log", "fresh responses"],
)
def test_a_minibatch_beyond_the_target_takes_the_last_update_back(
    model: LanguageModel,
    few_words: ConversationFormat,
    monkeypatch: pytest.MonkeyPatch,
    passes: int,
    batches: int,
    target: float,
) -> None:
    log = [conversation(few_words, EASY, [8, 9], float(i % 2)) for i in range(16)]
    log = written_by(model, log)
    befores: list[list[Tensor]] = []
    update = Optimiser.update  # every step's last act

    def recorded(self: Optimiser) -> None:
        befores.append([parameter.clone() for parameter in self._parameters])
        update(self)

    monkeypatch.setattr(Optimiser, "update", recorded)
    for limit in (100.0, target):
        befores.clear()
        improved, told = solve(
            model,
            problem(log, taste),
            epochs=passes,
            fresh_steps=batches,
            fresh_conversations=16,
            minibatch=2,
            learning_rate=5e-3,
            kl_coefficient=0.0,
            target_kl=limit,
        )
        if limit > target:
            assert len(befores) == 8
            assert not all(map(torch.equal, improved.trained_parameters(), befores[-1]))
    assert 0 < len(befores) < 8
    assert told[-1]["kl_of_pass"] > target
    assert all(map(torch.equal, improved.trained_parameters(), befores[-1]))


@pytest.mark.parametrize("passes", [{"epochs": 1, "fresh_steps": 0}, {"fresh_steps": 1}])
def test_a_last_update_beyond_the_target_is_taken_back_too(
    model: LanguageModel, format: ConversationFormat, passes: dict[str, int]
) -> None:
    log = log_of(model, 8)
    settings: Any = {"minibatch": 64, "learning_rate": 0.1, **passes}
    improved, told = solve(model, problem(log, taste), target_kl=0.01, **settings)
    assert told[-1]["kl_of_pass"] < 1e-5  # no minibatch has seen it
    assert told[-1]["taken_back"] == 1
    assert logprobs(improved, log) == logprobs(model, log)
    moved, told = solve(model, problem(log, taste), target_kl=1e9, **settings)
    assert told[-1]["taken_back"] == 0
    assert logprobs(moved, log) != logprobs(model, log)


def test_packs_are_a_matter_of_speed(
    model: LanguageModel, few_words: ConversationFormat, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However a minibatch is read, the step is the same; double precision hides no mistake."""
    log = [conversation(few_words, state, [8, 9] * n) for n in (1, 2, 3) for state in (EASY, HARD)]
    model.network.double()
    found = []
    for pack in (1, 2, 100):
        monkeypatch.setattr(fresh, "_PACK", pack)
        improved, told = solve(
            model,
            problem(log, taste),
            fresh_steps=2,
            minibatch=5,
            target_kl=100.0,
        )
        found.append((improved.weights(), told[-1]["kl_of_pass"]))
    (weights, kl), *others = found
    for other, other_kl in others:
        assert other_kl == pytest.approx(kl, rel=1e-3)
        for name in weights:
            torch.testing.assert_close(other[name], weights[name], atol=1e-5, rtol=0)
    assert kl > 0


def test_fresh_responses_come_to_score_more(
    model: LanguageModel, few_words: ConversationFormat
) -> None:
    log = [conversation(few_words, state, [8, 9]) for state in (EASY, HARD)] * 12
    improved, told = solve(
        model,
        problem(log, taste),
        fresh_steps=12,
        fresh_conversations=16,
        minibatch=8,
        learning_rate=3e-3,
        fresh_kl_coefficient=0.01,
        target_kl=100.0,
    )
    scores = [metrics["fresh_score"] for metrics in told]
    assert len(scores) == 12
    assert sum(scores[-3:]) / 3 > sum(scores[:3]) / 3 + 0.1
    assert told[-1]["kl_of_pass"] > told[0]["kl_of_pass"] >= 0
    assert all(metrics["fresh_score_sd_within_states"] > 0 for metrics in told)
    # The unit of advantages stays that of the first batch.
    assert len({metrics["fresh_score_scale"] for metrics in told}) == 1
    assert improved.divergence(model, log[:2]) > 0.1


def test_the_divergence_of_fresh_responses_holds_the_policy_back(
    model: LanguageModel, few_words: ConversationFormat
) -> None:
    log = [conversation(few_words, state, [8]) for state in (EASY, HARD)] * 6
    found = [
        solve(
            model,
            problem(log, taste),
            fresh_steps=6,
            minibatch=6,
            learning_rate=2e-3,
            fresh_kl_coefficient=coefficient,
            target_kl=100.0,
        )[1][-1]["kl_of_pass"]
        for coefficient in (0.0, 10.0)
    ]
    assert found[1] < 0.5 * found[0]


def test_an_adaptive_penalty_is_told_and_acts(
    model: LanguageModel, few_words: ConversationFormat
) -> None:
    log = [conversation(few_words, state, [8]) for state in (EASY, HARD)] * 6
    _, told = solve(
        model,
        problem(log, taste),
        fresh_steps=6,
        learning_rate=3e-3,
        fresh_kl_coefficient=0.5,
        adaptive_kl=1e-4,
        target_kl=100.0,
    )
    strengths = [metrics["kl_strength"] for metrics in told]
    assert strengths[0] == 1
    assert {b / a for a, b in itertools.pairwise(strengths)} <= {0.5, 1.0, 2.0}
    assert strengths[-1] > 4  # the divergence soon exceeds so small a target


@pytest.mark.parametrize(
    ("kl", "strength"), [(0.31, 2.0), (0.29, 1.0), (0.14, 1.0), (0.13, 0.5), (0.0, 0.5)]
)
def test_the_penalty_adapts(kl: float, strength: float) -> None:
    assert adapted(1.0, kl, target=0.2) == strength


def test_the_exact_divergence() -> None:
    generator = torch.Generator().manual_seed(0)
    p, q = (torch.randn(5, 7, generator=generator).log_softmax(-1) for _ in range(2))
    expected = torch.distributions.kl_divergence(
        torch.distributions.Categorical(logits=p), torch.distributions.Categorical(logits=q)
    )
    torch.testing.assert_close(exact_kl(p, q), expected)
    forbidden = torch.tensor([2, 5])
    p, q = (logits.index_fill(-1, forbidden, -torch.inf).log_softmax(-1) for logits in (p, q))
    kept = [i for i in range(7) if i not in forbidden]
    torch.testing.assert_close(exact_kl(p, q), exact_kl(p[:, kept], q[:, kept]))


def test_equal_candidates_are_read_once() -> None:
    def candidate(turn: int, *ids: int) -> Candidate:
        return Candidate(turn, ids, (0.0,) * len(ids))

    different, first, counts = distinct(
        [
            [candidate(0, 7), candidate(0, 7), candidate(1, 7), candidate(1, 8)],
            [candidate(0, 7), candidate(0, 9), candidate(0, 7), candidate(0, 7)],
        ]
    )
    assert [[(c.turn, c.token_ids) for c in candidates] for candidates in different] == [
        [(0, (7,)), (1, (7,)), (1, (8,))],
        [(0, (7,)), (0, (9,))],
    ]
    assert first == [0, 2, 3, 4, 5]
    assert counts == [2, 1, 1, 3, 1]


def test_every_state_gets_its_samples(model: LanguageModel, few_words: ConversationFormat) -> None:
    log = [conversation(few_words, EASY, (8, 9)), conversation(few_words, HARD, (8,))]
    hot = replace(model, sampling=SamplingConfig(temperature=1.3, max_new_tokens=6))
    sampled = hot.sample(log, 3, torch.Generator().manual_seed(0))
    turns = [[candidate.turn for candidate in candidates] for candidates in sampled]
    assert turns == [[0, 0, 0, 1, 1, 1], [0, 0, 0]]
    for episode, candidates in zip(log, sampled, strict=True):
        for candidate in candidates:
            assert not set(candidate.token_ids) & set(few_words.forbidden_ids)
            start = episode.response_starts()[candidate.turn]
            ids = episode.ids[:start] + candidate.token_ids
            said = TokenisedEpisode(
                ids,
                (-1,) * start + (0,) * len(candidate.token_ids),
                (0.0,) * len(ids),
                outcome=0.0,
            )
            alone = hot.logprobs(hot.collate([said]))
            assert candidate.token_logprobs == pytest.approx(alone.tolist(), abs=1e-4)


def test_fewer_than_two_samples_cannot_be_compared() -> None:
    with pytest.raises(ConvgymError, match=r"fresh_samples must be at least 2, .* got 1"):
        TokenPPO(fresh_samples=1)
