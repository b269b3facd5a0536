"""The language model as algorithms use it: log-probabilities, divergences, what else is said."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from convgym.agents.model.batch import tokenise
from convgym.agents.model.format import ConversationFormat
from convgym.agents.model.language_model import LanguageModel
from convgym.agents.model.policy import LanguageModelPolicy
from convgym.agents.model.sampling import SamplingConfig
from convgym.agents.values.critic import Critic
from convgym.conversation import Episode

Hold = Callable[..., list[Episode]]
MakeModel = Callable[..., LanguageModel]


@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_training_sees_the_log_probabilities_of_sampling(
    make_model: MakeModel,
    format: ConversationFormat,
    hold: Hold,
    temperature: float,
) -> None:
    """On conversations of several turns and lengths, padded into one batch."""
    model = make_model(temperature=temperature, max_new_tokens=8)
    policy = LanguageModelPolicy(model)
    episodes = hold(policy, range(24))
    assert len({len(episode.turns) for episode in episodes}) > 2
    batch = model.collate([tokenise(episode, format) for episode in episodes])
    sampled = batch.logprobs[batch.response]
    said = [turn.response.token_ids or () for episode in episodes for turn in episode.turns]
    assert batch.ids[batch.response].tolist() == [token for ids in said for token in ids]
    with torch.no_grad():
        found = model.logprobs(batch)
        hotter = replace(model, sampling=SamplingConfig(temperature * 1.1, 8))
        other = hotter.logprobs(batch)
    torch.testing.assert_close(found, sampled, atol=1e-4, rtol=0)
    assert (other - sampled).abs().max() > 1e-2


def test_distributions_are_proper_and_forbid_special_tokens(
    policy: LanguageModelPolicy, format: ConversationFormat, hold: Hold
) -> None:
    model = policy.model
    batch = model.collate([tokenise(episode, format) for episode in hold(policy, range(3))])
    with torch.no_grad():
        distributions = model.distributions(batch)
    assert distributions.shape == (int(batch.response.sum()), len(format.tokenizer))
    torch.testing.assert_close(distributions.exp().sum(-1), torch.ones(len(distributions)))
    assert (distributions[:, list(format.forbidden_ids)] == -torch.inf).all()


@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_the_divergence_is_that_of_a_loop_over_tokens(
    make_model: MakeModel,
    format: ConversationFormat,
    hold: Hold,
    temperature: float,
) -> None:
    """On more conversations than fit into one batch; the mean over responses, not batches."""
    model = make_model(temperature=temperature)
    policy = LanguageModelPolicy(make_model())
    log = [tokenise(episode, format) for episode in hold(policy, range(40))]
    other = make_model(seed=1, temperature=temperature)
    total = 0.0
    for episode in log:
        with torch.no_grad():
            ids = torch.tensor([episode.ids])
            logits = torch.stack([m.network(input_ids=ids).logits[0] for m in (other, model)])
        logits[:, :, list(format.forbidden_ids)] = -1e9
        new, old = (logits / temperature).log_softmax(-1)
        kl = (new.exp() * (new - old)).sum(-1)
        total += sum(float(kl[at - 1]) for at, turn in enumerate(episode.turns) if turn >= 0)
    expected = total / sum(episode.n_turns for episode in log)
    found = other.divergence(model, log)
    assert found == pytest.approx(expected, rel=1e-4)
    assert found > 0.1
    assert model.divergence(model, log) == 0
    back = model.divergence(other, log)
    assert back != pytest.approx(found, rel=1e-3)  # of the first from the second, not vice versa


def test_a_critic_starts_at_even_odds_and_leaves_the_model_alone(
    policy: LanguageModelPolicy,
) -> None:
    critic = Critic.from_language_model(policy.model)
    ids = torch.tensor([[5, 6, 7], [8, 9, 10]])
    assert (critic(ids) == 0).all()
    before = [parameter.clone() for parameter in policy.model.network.parameters()]
    critic.head.weight.data.fill_(0.1)
    optimizer = torch.optim.SGD(critic.parameters(), lr=1.0)
    critic(ids).sum().backward()
    optimizer.step()
    assert critic(ids).abs().min() > 0
    for parameter, old in zip(policy.model.network.parameters(), before, strict=True):
        assert torch.equal(parameter, old)


def test_a_value_is_what_was_seen_before_its_token(policy: LanguageModelPolicy) -> None:
    critic = Critic.from_language_model(policy.model)
    torch.nn.init.normal_(critic.head.weight, generator=torch.Generator().manual_seed(0))
    ids = torch.tensor([[5, 6, 7, 8, 0, 0]])
    values = critic.values(ids)
    with torch.no_grad():
        logits = critic(ids[:, :3])[0]
    torch.testing.assert_close(values[0, 1:4], logits.sigmoid())
    assert values[0, 0] == 0
    # Neither the present token nor those that follow can be seen.
    changed = critic.values(torch.tensor([[5, 6, 7, 99, 98, 97]]))
    torch.testing.assert_close(changed[0, :4], values[0, :4])
