"""Iterative PPO: its single-turn improvement step on synthetic logs, and small runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from convgym.agents.batch import TokenisedEpisode, collate
from convgym.agents.conversation_format import ConversationFormat
from convgym.agents.iterative_ppo import (
    ImprovementConfig,
    IterativePPO,
    IterativePPOConfig,
    improve,
)
from convgym.agents.language_model import LanguageModelPolicy
from convgym.agents.packing import Packed
from convgym.agents.protocol import Progress
from convgym.agents.q_function import QFunction, QFunctionConfig
from convgym.agents.scoring import response_logprobs
from convgym.errors import ConvgymError

torch.set_num_threads(1)

MakeModel = Callable[..., Any]
GOOD, BAD, REPLY = 20, 21, 22  # one token each
STATES = [(30,), (31, 32), (33, 34, 35)]


class Taste(QFunction):
    """Scores a response by the share of its tokens that are even numbers."""

    def score(self, packed: Packed) -> Tensor:
        likes = (packed.ids[packed.rows, packed.columns] % 2 == 0).float()
        sums = torch.zeros(len(packed.end_rows)).index_add(0, packed.response, likes)
        return sums / packed.response.bincount()


@pytest.fixture
def model(make_model: MakeModel) -> Any:
    return make_model(layers=1).eval()


def conversation(
    format: ConversationFormat, state: tuple[int, ...], said: list[int], outcome: float
) -> TokenisedEpisode:
    ids, turns = [*state], [-1] * len(state)
    for turn, word in enumerate(said):
        ids += [*([REPLY] if turn else []), word, format.end_id]
        turns += [*([-1] if turn else []), turn, turn]
    return TokenisedEpisode(tuple(ids), tuple(turns), (0.0,) * len(ids), outcome)


def logprobs(model: Any, format: ConversationFormat, log: list[TokenisedEpisode]) -> list[float]:
    """Return the log-probability of all responses of every conversation."""
    batch = collate(log, format.pad_id)
    with torch.no_grad():
        found = response_logprobs(model, format, batch)
    return [float(part.sum()) for part in found.split(batch.response.sum(dim=1).tolist())]


def written_by(
    model: Any, format: ConversationFormat, log: list[TokenisedEpisode]
) -> list[TokenisedEpisode]:
    """Return the log with the model's own log-probabilities, as if it had written it."""
    written = []
    for one in log:
        batch = collate([one], format.pad_id)
        with torch.no_grad():
            found = iter(response_logprobs(model, format, batch).tolist())
        own = tuple(next(found) if turn >= 0 else torch.nan for turn in one.turns)
        written.append(replace(one, logprobs=own))
    return written


def improved(
    model: Any,
    format: ConversationFormat,
    log: list[TokenisedEpisode],
    q_function: QFunction,
    **step: Any,
) -> list[Mapping[str, float]]:
    """Improve the model and return the metrics after every pass or batch."""
    told: list[Mapping[str, float]] = []
    metrics = improve(
        model,
        format,
        log,
        q_function,
        IterativePPOConfig(max_new_tokens=6, improvement=ImprovementConfig(**step)),
        generator=torch.Generator().manual_seed(0),
        tell=lambda done, total, metrics: told.append(dict(metrics)),
    )
    assert told[-1] == metrics
    return told


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (IterativePPOConfig(rounds=0), "at least 1 round, got 0"),
        (
            IterativePPOConfig(improvement=ImprovementConfig(fresh_samples=1)),
            "fresh_samples must be at least 2, .* got 1",
        ),
        (IterativePPOConfig(model="/nowhere"), "no model at '/nowhere'"),
    ],
)
def test_mistakes_in_the_config(config: IterativePPOConfig, message: str) -> None:
    with pytest.raises(ConvgymError, match=message):
        IterativePPO(config, "iterative-ppo")


def test_what_sold_becomes_more_likely_and_what_did_not_less(
    model: Any, format: ConversationFormat
) -> None:
    pairs = [
        conversation(format, state, [word], float(word == GOOD))
        for state in STATES
        for word in (GOOD, BAD)
    ]
    log = written_by(model, format, pairs * 8)
    before = logprobs(model, format, pairs)
    told = improved(model, format, log, QFunction(model), epochs=3, learning_rate=1e-3, minibatch=8)
    after = logprobs(model, format, pairs)
    for one, old, new in zip(pairs, before, after, strict=True):
        assert new > old + 0.05 if one.outcome else new < old - 0.05
    assert [metrics["kl"] for metrics in told] == sorted(metrics["kl"] for metrics in told)
    assert told[-1]["kl"] > 0


def test_only_the_responses_that_decided_are_changed(
    model: Any, format: ConversationFormat
) -> None:
    """V is 1/2 everywhere: with lambda 0 a first response is worth what it was before."""
    log = written_by(
        model,
        format,
        [conversation(format, (30,), [23, word], float(word == GOOD)) for word in (GOOD, BAD)] * 16,
    )
    config = IterativePPOConfig(
        q_function=QFunctionConfig(return_lambda=0.0),
        improvement=ImprovementConfig(epochs=2, learning_rate=1e-3),
    )
    batch = collate(log[:2], format.pad_id)
    before = response_logprobs(model, format, batch).detach().view(2, 2, 2).sum(-1)
    generator = torch.Generator().manual_seed(0)
    improve(model, format, log, QFunction(model), config, generator=generator)
    after = response_logprobs(model, format, batch).detach().view(2, 2, 2).sum(-1)
    (first, good), (same, bad) = (after - before).tolist()
    assert first == pytest.approx(same, abs=1e-4)
    assert good > 0 > bad
    assert abs(first) < 0.2 * (good - bad)


def test_equal_scores_move_nothing(model: Any, format: ConversationFormat) -> None:
    log = [conversation(format, state, [word], 1.0) for state in STATES for word in (GOOD, BAD)]
    log = written_by(model, format, log)
    before = logprobs(model, format, log)
    # Adam scales up even rounding errors in gradients, hence no equality.
    improved(model, format, log, QFunction(model), epochs=2, learning_rate=1e-4)
    assert logprobs(model, format, log) == pytest.approx(before, abs=0.02)


def test_the_step_ends_at_its_target_divergence(model: Any, format: ConversationFormat) -> None:
    log = [conversation(format, (30,), [word], float(word == GOOD)) for word in (GOOD, BAD)]
    log = written_by(model, format, log * 8)
    target = 0.01
    told = improved(
        model, format, log, QFunction(model), epochs=50, learning_rate=1e-3, target_kl=target
    )
    assert 1 < len(told) < 50
    assert all(metrics["kl"] <= target for metrics in told[:-1])
    assert told[-1]["kl"] > target


@pytest.fixture
def few_words(format: ConversationFormat) -> ConversationFormat:
    """Leave a dozen words, half of them even numbers."""
    format.forbidden_ids = (*format.forbidden_ids, *range(16, len(format.tokenizer)))
    return format


def test_fresh_responses_come_to_score_more(model: Any, few_words: ConversationFormat) -> None:
    log = [conversation(few_words, state, [8, 9], 0.0) for state in STATES * 8]
    told = improved(
        model,
        few_words,
        log,
        Taste(model),
        epochs=0,
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
    assert told[-1]["kl"] > told[0]["kl"] >= 0
    assert all(metrics["fresh_score_sd_within_states"] > 0 for metrics in told)


def test_the_divergence_of_fresh_responses_holds_the_policy_back(
    make_model: MakeModel, few_words: ConversationFormat
) -> None:
    log = [conversation(few_words, state, [8], 0.0) for state in STATES * 4]
    divergences = []
    for coefficient in (0.0, 10.0):
        model = make_model(layers=1).eval()
        told = improved(
            model,
            few_words,
            log,
            Taste(model),
            epochs=0,
            fresh_steps=6,
            minibatch=6,
            learning_rate=2e-3,
            fresh_kl_coefficient=coefficient,
            target_kl=100.0,
        )
        divergences.append(told[-1]["kl"])
    assert divergences[1] < 0.5 * divergences[0]


@pytest.fixture
def make_agent(
    make_model: MakeModel, format: ConversationFormat, tmp_path: Path
) -> Callable[..., IterativePPO]:
    folder = tmp_path / "model"
    LanguageModelPolicy(make_model(layers=1, context=768), format).save(folder)

    def make(**settings: Any) -> IterativePPO:
        config = IterativePPOConfig(model=str(folder), max_new_tokens=4, **settings)
        return IterativePPO(config, "iterative-ppo")

    return make


ENVIRONMENT = {"max_turns": 2}


@pytest.mark.parametrize(("conversations", "deployments"), [(1, 1), (3, 3), (10, 4)])
def test_small_budgets_are_spent_in_full(
    make_agent: Callable[..., IterativePPO], conversations: int, deployments: int
) -> None:
    agent = make_agent(rounds=4)
    told: list[Progress] = []
    report = agent.train(
        conversations=conversations, seed=0, environment=ENVIRONMENT, report=told.append
    )
    assert (report.conversations, report.deployments) == (conversations, deployments)
    assert len(report.rows) == deployments
    assert all(point.episodes > 0 for point in report.curve)
    assert all(parameter.isfinite().all() for parameter in agent.policy.model.parameters())
    assert (told[-1].done, told[-1].total) == (deployments, deployments)


def test_an_interrupted_run_ends_as_an_uninterrupted_one(
    make_agent: Callable[..., IterativePPO], tmp_path: Path
) -> None:
    def run(folder: Path, stop: str = "") -> IterativePPO:
        def report(progress: Progress) -> None:
            if stop and progress.stage == stop:
                raise KeyboardInterrupt

        agent = make_agent(rounds=3, improvement=ImprovementConfig(fresh_steps=1))
        agent.train(conversations=12, seed=0, environment=ENVIRONMENT, folder=folder, report=report)
        return agent

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "stopped", stop="round 2: improve")
    resumed = run(tmp_path / "stopped").policy.model.state_dict()
    whole = run(tmp_path / "whole").policy.model.state_dict()
    assert all(torch.equal(resumed[name], whole[name]) for name in whole)
