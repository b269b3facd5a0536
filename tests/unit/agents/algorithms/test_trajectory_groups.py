"""GRPO and RLOO on whole conversations, against naive loops over them."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from convgym.agents.algorithms.trajectory_groups import (
    TrajectoryGroups,
    TrajectoryGroupsConfig,
    _Learner,
)
from convgym.agents.model.config import PolicyConfig
from convgym.agents.model.language_model import LanguageModel
from convgym.agents.model.policy import LanguageModelPolicy
from convgym.agents.training.collector import Collector
from convgym.conversation import Episode
from convgym.errors import ConvgymError

torch.set_num_threads(1)

Hold = Callable[..., list[Episode]]
KL = 0.1


def config(**settings: Any) -> TrajectoryGroupsConfig:
    defaults: dict[str, Any] = {
        "group_size": 3,
        "minibatch": 64,
        "learning_rate": 0.0,
        "kl_coefficient": KL,
    }
    return TrajectoryGroupsConfig(**defaults | settings)


@pytest.fixture
def model(make_model: Callable[..., LanguageModel]) -> LanguageModel:
    return make_model(layers=1)


@pytest.fixture
def episodes(model: LanguageModel, hold: Hold) -> list[Episode]:
    """Return three conversations with each of three customers, who bought 0, 1 and 3 times."""
    said = hold(LanguageModelPolicy(model), range(9))
    sold = [False, False, False, True, False, False, True, True, True]
    return [
        replace(episode, seed=5 + i // 3, outcome="purchase" if buys else "walk_away")
        for i, (episode, buys) in enumerate(zip(said, sold, strict=True))
    ]


def scores(model: LanguageModel, episode: Episode) -> Tensor:
    """Return log pi of one conversation's response tokens, gradients included."""
    return model.logprobs(model.collate(model.tokenise([episode])))


def naive_advantages(rewards: Sequence[float], advantage: str) -> list[float]:
    found = []
    for start in range(0, len(rewards), 3):
        group = rewards[start : start + 3]
        for i, reward in enumerate(group):
            if advantage == "rloo":
                found.append(reward - statistics.mean([*group[:i], *group[i + 1 :]]))
            else:
                deviation = statistics.stdev(group)
                found.append((reward - statistics.mean(group)) / deviation if deviation else 0.0)
    return found


@pytest.mark.parametrize("clip", [0.2, None])
@pytest.mark.parametrize("advantage", ["grpo", "rloo"])
def test_a_step_goes_down_the_papers_gradient(
    model: LanguageModel,
    episodes: list[Episode],
    advantage: str,
    clip: float | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    learner = _Learner(config(advantage=advantage, clip=clip, epochs=1), model)
    with torch.no_grad():  # the policy has moved since it spoke, and since it started
        for parameter in model.trained_parameters():
            step = torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1))
            parameter.add_(0.02 * step)
    taken: list[Tensor] = []
    monkeypatch.setattr(learner.optimiser, "step", lambda loss: taken.append(loss))
    learner.update(episodes, torch.Generator().manual_seed(0))
    (loss,) = taken

    outcomes = [float(episode.converted) for episode in episodes]
    old = [torch.tensor(model.tokenise([e])[0].logprobs) for e in episodes]
    old = [each[~each.isnan()] for each in old]
    with torch.no_grad():
        start = [scores(learner.reference, episode) for episode in episodes]
    rewards = outcomes
    if advantage == "rloo":
        rewards = [
            outcome - KL * float((spoken - anchor).sum())
            for outcome, spoken, anchor in zip(outcomes, old, start, strict=True)
        ]
    per_conversation: list[Tensor] = []
    for i, worth in enumerate(naive_advantages(rewards, advantage)):
        tokens = []
        for t, logprob in enumerate(scores(model, episodes[i])):
            if clip is None:
                gain = worth * logprob
            else:
                ratio = (logprob - old[i][t]).exp()
                gain = torch.minimum(ratio * worth, ratio.clamp(0.8, 1.2) * worth)
            if advantage == "grpo":
                d = start[i][t] - logprob
                gain = gain - KL * (d.exp() - d - 1)
            tokens.append(gain)
        per_conversation.append(torch.stack(tokens))
    if advantage == "grpo":
        expected = -torch.stack([tokens.mean() for tokens in per_conversation]).mean()
    else:
        expected = -torch.cat(per_conversation).mean()
    parameters = model.trained_parameters()
    torch.testing.assert_close(loss, expected, rtol=1e-3, atol=1e-4)
    for found, wanted in zip(
        torch.autograd.grad(loss, parameters),
        torch.autograd.grad(expected, parameters),
        strict=True,
    ):
        torch.testing.assert_close(found, wanted, rtol=1e-2, atol=1e-4)


def test_groups_are_found_whatever_the_minibatches(
    model: LanguageModel, episodes: list[Episode]
) -> None:
    """Minibatches hold neighbours in length, groups lie across them; failures are left out."""
    episodes[1] = replace(episodes[1], outcome="infrastructure_failure")
    found: dict[tuple[int, tuple[int, ...]], list[float]] = {}
    for minibatch in (2, 64):
        learner = _Learner(config(minibatch=minibatch), model)
        minibatches = learner._minibatches(episodes)
        advantages, metrics = learner.advantages(minibatches)
        assert metrics == {"mixed_groups": pytest.approx(3 / 8)}
        for each, of_batch in zip(minibatches, advantages, strict=True):
            for row, value in enumerate(of_batch.tolist()):
                ids = tuple(each.batch.ids[row, : int(each.batch.lengths[row])].tolist())
                customer = int(each.customers[row])
                found.setdefault((customer, ids), []).append(value)
    assert len(found) == 8 and all(one == other for one, other in found.values())
    of_second = sorted(values[0] for (customer, _), values in found.items() if customer == 6)
    assert of_second == pytest.approx([-1 / math.sqrt(3)] * 2 + [2 / math.sqrt(3)], abs=1e-4)
    assert {values[0] for (customer, _), values in found.items() if customer != 6} == {0.0}


def test_rounds_share_the_budget(model: LanguageModel, tmp_path: Path) -> None:
    LanguageModelPolicy(model).save(tmp_path / "model")
    policy = PolicyConfig(model=str(tmp_path / "model"), max_new_tokens=6)
    for settings, expected in (({"rounds": 3}, [4, 4, 5]), ({"deployment": 8}, [8, 5])):
        agent = TrajectoryGroups(config(policy=policy, **settings), "trajectory-grpo")
        report = agent.train(Collector(13, seed=0, environment={"max_turns": 2}))
        assert [point.episodes for point in report.curve] == expected


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"advantage": "ppo"}, "advantage must be 'grpo' or 'rloo', got 'ppo'"),
        ({"group_size": 1}, "group_size must be at least 2"),
        ({"rounds": 0}, "rounds must be an integer from 1 upwards, got 0"),
        ({"clip": 0.0}, "clip must be a number above 0, got 0.0"),
    ],
)
def test_values_that_cannot_be(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConvgymError, match=message):
        TrajectoryGroupsConfig(**settings)
