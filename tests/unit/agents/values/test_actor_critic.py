"""The update of actor and critic, with tokens and with turns for steps."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch

from convgym.agents.model.language_model import LanguageModel
from convgym.agents.model.policy import LanguageModelPolicy
from convgym.agents.training.collector import Collector
from convgym.agents.values.actor_critic import TOKENS, TURNS, ActorCritic, ActorCriticConfig, Steps
from convgym.conversation import Episode
from convgym.errors import ConvgymError

torch.set_num_threads(1)

Hold = Callable[..., list[Episode]]
both = pytest.mark.parametrize("steps", [TOKENS, TURNS], ids=["tokens", "turns"])


def learner_of(model: LanguageModel, steps: Steps, **settings: Any) -> ActorCritic:
    learner = ActorCritic(ActorCriticConfig(**settings), model, steps)
    with torch.no_grad():  # an opinion of its own, of every state another
        learner.critic.head.weight.normal_(generator=torch.Generator().manual_seed(0))
    return learner


@pytest.fixture
def model(make_model: Callable[..., LanguageModel]) -> LanguageModel:
    return make_model(layers=1)


@pytest.fixture
def episodes(model: LanguageModel, hold: Hold) -> list[Episode]:
    return hold(LanguageModelPolicy(model), range(6))


@both
def test_advantages_are_those_of_the_decision_process(
    model: LanguageModel, episodes: list[Episode], steps: Steps
) -> None:
    gamma, gae_lambda = 0.9, 0.7
    learner = learner_of(model, steps, gamma=gamma, gae_lambda=gae_lambda)
    batch = model.collate(model.tokenise(episodes))
    (found,) = learner.advantages([batch])
    expected = []
    for row in range(len(batch)):
        at = batch.response[row].nonzero()[:, 0].tolist()
        turns = batch.turns[row].tolist()
        with torch.no_grad():
            logits = learner.critic(batch.ids[row : row + 1, : int(batch.lengths[row])])[0]
        # Steps as lists of tokens, each with the value of the state before its first.
        groups = [[t] for t in at]
        if steps is TURNS:
            groups = [[t for t in at if turns[t] == turn] for turn in range(max(turns) + 1)]
        advantage = following = 0.0
        of_tokens: dict[int, float] = {}
        for number in reversed(range(len(groups))):
            group = groups[number]
            last = number + 1 == len(groups)
            crosses = not last and turns[groups[number + 1][0]] != turns[group[0]]
            discount, decay = (gamma, gae_lambda) if crosses else (1.0, 1.0)
            value = float(logits[group[0] - 1].sigmoid())
            reward = float(batch.outcomes[row]) if last else 0.0
            advantage = reward + discount * following - value + discount * decay * advantage
            following = value
            of_tokens |= dict.fromkeys(group, advantage)
        expected += [of_tokens[t] for t in at]
    wanted = torch.tensor(expected)
    wanted = (wanted - wanted.mean()) / wanted.std(correction=0)
    torch.testing.assert_close(found, wanted, rtol=1e-3, atol=1e-4)


@both
def test_the_critic_learns_at_its_steps_states(
    model: LanguageModel,
    episodes: list[Episode],
    steps: Steps,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    learner = learner_of(model, steps, gamma=0.5)
    monkeypatch.setattr(learner.critic_optimiser, "update", lambda: None)
    batch = model.collate(model.tokenise(episodes))
    taken = learner._critic_step(batch)
    losses = []
    for row, turns in enumerate(batch.turns.tolist()):
        for t, turn in enumerate(turns):
            if turn < 0 or (steps is TURNS and turns[t - 1] == turn):
                continue
            target = float(batch.outcomes[row]) * 0.5 ** (max(turns) - turn)
            value = float(learner.critic(batch.ids[row : row + 1])[0, t - 1].detach().sigmoid())
            losses.append(-target * math.log(value) - (1 - target) * math.log(1 - value))
    assert taken.item() == pytest.approx(sum(losses) / len(losses), rel=1e-3)


def test_the_policy_stops_where_it_has_gone_far_enough(
    model: LanguageModel, episodes: list[Episode]
) -> None:
    def learned(target_kl: float) -> tuple[dict[str, float], list[bool]]:
        actor = model.copy()
        learner = learner_of(
            actor, TOKENS, target_kl=target_kl, epochs=8, learning_rate=1e-3, minibatch=2
        )
        before = {name: value.clone() for name, value in actor.weights().items()}
        critic = [value.clone() for value in learner.critic.parameters()]
        batches = actor.batches(actor.tokenise(episodes), 2)
        metrics = learner.update(batches, torch.Generator().manual_seed(0))
        pairs = zip(critic, learner.critic.parameters(), strict=True)
        moved = any(not torch.equal(before[name], v) for name, v in actor.weights().items())
        return metrics, [moved, any(not torch.equal(old, new) for old, new in pairs)]

    free, moved = learned(math.inf)
    bound, moved_too = learned(0.05)
    assert moved == moved_too == [True, True]
    assert free["kl_to_deployed"] > 3 * bound["kl_to_deployed"] > 0


def test_rounds_say_how_many_deployments() -> None:
    door = Collector(13, seed=0)
    assert ActorCriticConfig(rounds=2).next_deployment(door) == 6
    assert ActorCriticConfig(deployment=5).next_deployment(door) == 5
    with pytest.raises(ConvgymError, match="rounds must be an integer from 1 upwards, got 0"):
        ActorCriticConfig(rounds=0)
