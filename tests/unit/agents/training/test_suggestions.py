"""The shipped model in the suggested-response setting: it reads what was sent, token by token."""

from __future__ import annotations

from typing import Any

import pytest

from convgym.agents import make_agent
from convgym.agents.model.batch import tokenise
from convgym.agents.model.policy import LanguageModelPolicy
from convgym.agents.training.collector import Collector
from convgym.rollout import rollout

SUGGESTED = {"customer": "suggested"}


@pytest.fixture(scope="module")
def policy() -> LanguageModelPolicy:
    return LanguageModelPolicy.from_pretrained("default")


def test_states_are_read_without_loss_and_fit_the_context(policy: LanguageModelPolicy) -> None:
    format, longest = policy.model.format, 0
    before, after = format.reply("")[:1], format.reply("")[1:]
    episodes = rollout(policy, range(40), environment=SUGGESTED)
    replies = [turn.reply for episode in episodes for turn in episode.turns]
    marked = [reply for reply in replies if reply.startswith("[sent: ")]
    assert 0.2 < len(marked) / len(replies) < 0.7
    for reply in replies:
        ids = format.reply(reply)
        assert format.decode(ids[len(before) : len(ids) - len(after)]) == reply
    for episode in episodes:
        longest = max(longest, len(format.prompt(episode.messages())))
    assert longest < policy.model.network.config.max_position_embeddings / 2


def test_training_sees_the_probabilities_that_were_sampled(policy: LanguageModelPolicy) -> None:
    """Conversations are trained on whole: what was sent stands between the right responses."""
    episodes = rollout(policy, range(16), environment=SUGGESTED)
    model = policy.model
    batch = model.collate([tokenise(episode, model.format) for episode in episodes])
    found = model.logprobs(batch)
    assert found.detach().tolist() == pytest.approx(
        batch.logprobs[batch.response].tolist(), abs=1e-4
    )


ROUND = {
    "rounds": 1,
    "q_function": {"first_steps": 2},
    "improvement": {"name": "token-ppo", "fresh_steps": 1, "fresh_conversations": 4},
}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "settings"), [("bc", {}), ("online-ppo", {}), ("iterative-ppo", ROUND)]
)
def test_agents_train_on_suggestions(name: str, settings: dict[str, Any]) -> None:
    report = make_agent(name, **settings).train(Collector(12, seed=0, environment=SUGGESTED))
    assert (report.usage.conversations, report.usage.excluded) == (12, 0)
