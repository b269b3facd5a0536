"""Implicit language Q-learning against naive loops: its losses, its targets, its policy."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from convgym.agents.algorithms.ilql import (
    ILQLConfig,
    ValueHeads,
    conservative_penalty,
    ilql_losses,
    perturb,
    q_targets,
)
from convgym.agents.model.batch import Batch
from convgym.agents.model.language_model import LanguageModel
from convgym.agents.model.policy import LanguageModelPolicy
from tests.unit.agents.logs import BAD, EASY, GOOD, HARD, conversation

torch.set_num_threads(1)

MakeModel = Callable[..., LanguageModel]


@pytest.fixture
def model(make_model: MakeModel) -> LanguageModel:
    return make_model(layers=1)


@pytest.fixture
def batch(model: LanguageModel) -> Batch:
    return model.collate(
        [
            conversation(model.format, EASY, [GOOD, BAD], 1.0),
            conversation(model.format, HARD, [BAD, GOOD, GOOD], 0.0),
        ]
    )


def random_heads(model: LanguageModel, seed: int) -> ValueHeads:
    heads, generator = ValueHeads(model), torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in heads.parameters():
            parameter.normal_(std=0.3, generator=generator)
    return heads


@pytest.mark.parametrize("trace", [0.0, 0.7, 1.0])
@pytest.mark.parametrize("gamma", [1.0, 0.5])
def test_targets_are_lambda_returns_over_response_tokens(
    batch: Batch, trace: float, gamma: float
) -> None:
    v = torch.rand(int(batch.response.sum()), generator=torch.Generator().manual_seed(0))
    found = q_targets(v, batch, ILQLConfig(trace=trace, gamma=gamma))
    expected, start = [], 0
    for row in range(len(batch)):
        turns = batch.turns[row][batch.response[row]].tolist()
        values = v[start : start + len(turns)].tolist()
        start += len(turns)
        returns = [float(batch.outcomes[row])]
        for t in reversed(range(len(turns) - 1)):
            discount = gamma if turns[t + 1] != turns[t] else 1.0
            mixed = (1 - trace) * values[t + 1] + trace * returns[0]
            returns.insert(0, discount * mixed)
        expected += returns
    assert found.tolist() == pytest.approx(expected, abs=1e-5)


def test_the_backup_of_one_token_is_the_papers(batch: Batch) -> None:
    """Trace 0: r + V of the next response token, the customer's skipped."""
    v = torch.arange(int(batch.response.sum()), dtype=torch.float32)
    found = q_targets(v, batch, ILQLConfig(trace=0.0))
    assert found[:4].tolist() == pytest.approx([1.0, 2.0, 3.0, 1.0])  # the outcome at the end


def test_the_conservative_penalty_against_a_loop() -> None:
    q = torch.randn(3, 2, 5, generator=torch.Generator().manual_seed(1))
    q[..., 4] = -math.inf
    said = torch.tensor([0, 3, 2])
    naive = [
        sum(
            math.log(sum(math.exp(value) for value in head[:4])) - head[word]
            for head in row.tolist()
        )
        for row, word in zip(q, said.tolist(), strict=True)
    ]
    assert conservative_penalty(q, said).tolist() == pytest.approx(naive, abs=1e-5)


def test_the_losses_against_a_loop(model: LanguageModel, batch: Batch) -> None:
    config = ILQLConfig(expectile=0.8, cql_weight=0.5, trace=0.0)
    heads, slow = random_heads(model, 0), random_heads(model, 1)
    found = ilql_losses(model, heads, slow, batch, config)
    sums = dict.fromkeys(found, 0.0)
    with torch.no_grad():
        hidden, logprobs = model.hidden_states(batch.ids), iter(model.logprobs(batch).tolist())
        q, v, careful = heads.q(hidden), heads.v(hidden), slow.q(hidden)
    for row in range(len(batch)):
        places = batch.response[row].nonzero()[:, 0].tolist()
        for place, following in zip(places, [*places[1:], None], strict=True):
            before, word = place - 1, int(batch.ids[row, place])
            after = batch.outcomes[row] if following is None else v[row, following - 1]
            both, value = q[row, before], float(v[row, before])
            cautious = float(careful[row, before, :, word].min())
            sums["q_loss"] += float(((both[:, word] - after) ** 2).sum())
            sums["v_loss"] += (0.8 if cautious >= value else 0.2) * (cautious - value) ** 2
            allowed = both.clone()
            allowed[:, list(model.format.forbidden_ids)] = -math.inf
            sums["cql_loss"] += 0.5 * float((allowed.logsumexp(-1) - both[:, word]).sum())
            sums["imitation_loss"] -= next(logprobs)
    n = int(batch.response.sum())
    for name, total in sums.items():
        assert found[name].item() == pytest.approx(total / n, rel=1e-4), name


def test_v_learns_by_its_own_loss_alone(model: LanguageModel, batch: Batch) -> None:
    heads, slow = random_heads(model, 0), random_heads(model, 1)
    terms = ilql_losses(model, heads, slow, batch, ILQLConfig())
    for name, term in terms.items():
        parameters = [*heads.v_head.parameters()]
        gradients = torch.autograd.grad(term, parameters, retain_graph=True, allow_unused=True)
        learns = [gradient is not None and bool(gradient.any()) for gradient in gradients]
        assert learns == [name == "v_loss"] * 2, name


def test_slow_heads_follow(model: LanguageModel) -> None:
    heads, slow = random_heads(model, 0), random_heads(model, 1)
    before = slow.q_heads.weight.clone()
    slow.follow(heads, 0.25)
    expected = 0.75 * before + 0.25 * heads.q_heads.weight
    torch.testing.assert_close(slow.q_heads.weight, expected)


def test_the_policy_is_perturbed_by_q_less_v(
    model: LanguageModel, batch: Batch, tmp_path: Path
) -> None:
    heads, beta = random_heads(model, 0), 2.5
    with torch.no_grad():
        hidden = model.hidden_states(batch.ids)
        advantages = heads.q(hidden).mean(-2) - heads.v(hidden)[..., None]
        expected = chosen(model.word_logits(hidden) + beta * advantages, model, batch)
        start = model.logprobs(batch)
        embedding = read_layer(model).clone()
        perturb(model, heads, beta)
        assert (model.logprobs(batch) - start).abs().max() > 0.1
        torch.testing.assert_close(model.logprobs(batch), expected, atol=1e-4, rtol=0)
        # What is read is what it was, though the two layers were one.
        assert torch.equal(read_layer(model), embedding)
        # It is a policy like any other: copied, saved and loaded as it is.
        torch.testing.assert_close(model.copy().logprobs(batch), expected, atol=1e-4, rtol=0)
        LanguageModelPolicy(model).save(tmp_path)
        loaded = LanguageModelPolicy.from_pretrained(tmp_path).model
        torch.testing.assert_close(loaded.logprobs(batch), expected, atol=1e-4, rtol=0)


def read_layer(model: LanguageModel) -> Tensor:
    weight = model.network.get_input_embeddings().weight
    assert isinstance(weight, Tensor)
    return weight


def chosen(logits: Tensor, model: LanguageModel, batch: Batch) -> Tensor:
    """Return the log-probability of every response token by the logits (B, T, V) before it."""
    logits[..., list(model.format.forbidden_ids)] = -math.inf
    before = logits.log_softmax(-1)[:, :-1][batch.response[:, 1:]]
    return before.gather(-1, batch.ids[batch.response][:, None])[:, 0]
