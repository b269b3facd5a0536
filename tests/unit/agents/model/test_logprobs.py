"""Training's log-probabilities and values of whole conversations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from convgym.agents.model.batch import collate, tokenise
from convgym.agents.model.format import ConversationFormat
from convgym.agents.model.logprobs import divergence, response_distributions, response_logprobs
from convgym.agents.model.policy import LanguageModelPolicy
from convgym.agents.values.critic import Critic
from convgym.conversation import Episode

Hold = Callable[..., list[Episode]]


@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_training_sees_the_log_probabilities_of_sampling(
    make_model: Callable[..., Any],
    format: ConversationFormat,
    hold: Hold,
    temperature: float,
) -> None:
    """On conversations of several turns and lengths, padded into one batch."""
    policy = LanguageModelPolicy(make_model(), format, temperature=temperature, max_new_tokens=8)
    episodes = hold(policy, range(24))
    assert len({len(episode.turns) for episode in episodes}) > 2
    batch = collate([tokenise(episode, format) for episode in episodes], format.pad_id)
    sampled = batch.logprobs[batch.response]
    said = [turn.response.token_ids or () for episode in episodes for turn in episode.turns]
    assert batch.ids[batch.response].tolist() == [token for ids in said for token in ids]
    with torch.no_grad():
        found = response_logprobs(policy.model, format, batch, temperature)
        other = response_logprobs(policy.model, format, batch, temperature * 1.1)
    torch.testing.assert_close(found, sampled, atol=1e-4, rtol=0)
    assert (other - sampled).abs().max() > 1e-2


def test_distributions_are_proper_and_forbid_special_tokens(
    policy: LanguageModelPolicy, format: ConversationFormat, hold: Hold
) -> None:
    batch = collate([tokenise(one, format) for one in hold(policy, range(3))], format.pad_id)
    with torch.no_grad():
        distributions = response_distributions(policy.model, format, batch)
    assert distributions.shape == (int(batch.response.sum()), len(format.tokenizer))
    torch.testing.assert_close(distributions.exp().sum(-1), torch.ones(len(distributions)))
    assert (distributions[:, list(format.forbidden_ids)] == -torch.inf).all()


@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_the_divergence_is_that_of_a_loop_over_tokens(
    policy: LanguageModelPolicy,
    make_model: Callable[..., Any],
    format: ConversationFormat,
    hold: Hold,
    temperature: float,
) -> None:
    """On more conversations than fit into one batch; the mean over responses, not batches."""
    log = [tokenise(episode, format) for episode in hold(policy, range(40))]
    other = make_model(seed=1).eval()
    total = 0.0
    for one in log:
        with torch.no_grad():
            ids = torch.tensor([one.ids])
            logits = torch.stack([m(input_ids=ids).logits[0] for m in (other, policy.model)])
        logits[:, :, list(format.forbidden_ids)] = -1e9
        new, old = (logits / temperature).log_softmax(-1)
        kl = (new.exp() * (new - old)).sum(-1)
        total += sum(float(kl[at - 1]) for at, turn in enumerate(one.turns) if turn >= 0)
    expected = total / sum(one.n_turns for one in log)
    found = divergence(other, policy.model, format, log, temperature)
    assert found == pytest.approx(expected, rel=1e-4)
    assert found > 0.1
    assert divergence(policy.model, policy.model, format, log, temperature) == 0
    back = divergence(policy.model, other, format, log, temperature)
    assert back != pytest.approx(found, rel=1e-3)  # of the first from the second, not vice versa


def test_a_critic_starts_at_even_odds_and_leaves_the_model_alone(
    policy: LanguageModelPolicy,
) -> None:
    critic = Critic.from_language_model(policy.model)
    ids = torch.tensor([[5, 6, 7], [8, 9, 10]])
    assert (critic(ids) == 0).all()
    before = [parameter.clone() for parameter in policy.model.parameters()]
    critic.head.weight.data.fill_(0.1)
    optimizer = torch.optim.SGD(critic.parameters(), lr=1.0)
    critic(ids).sum().backward()
    optimizer.step()
    assert critic(ids).abs().min() > 0
    for parameter, old in zip(policy.model.parameters(), before, strict=True):
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
