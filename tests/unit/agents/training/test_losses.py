"""The mathematics of PPO against naive loops, closed forms and invariants."""

from __future__ import annotations

import math
import statistics

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from convgym.agents.training import losses

unit = st.floats(0.0, 1.0, width=32)


@st.composite
def conversations(draw: st.DrawFn) -> tuple[Tensor, Tensor, Tensor]:
    """Return rewards, values and turns (B, T) of conversations of different shapes."""
    rows = []
    for _ in range(draw(st.integers(1, 3))):
        row: list[int] = []
        for turn in range(draw(st.integers(0, 4))):
            row += [-1] * draw(st.integers(0, 3)) + [turn] * draw(st.integers(1, 4))
        rows.append(row)
    width = max([1, *map(len, rows)]) + draw(st.integers(0, 2))
    turns = torch.tensor([row + [-1] * (width - len(row)) for row in rows])
    numbers = st.lists(st.floats(-2, 2, width=32), min_size=turns.numel(), max_size=turns.numel())
    rewards, values = (
        torch.tensor(draw(numbers), dtype=torch.float64).view_as(turns) for _ in range(2)
    )
    return rewards, values, turns


def naive_gae(
    rewards: Tensor,
    values: Tensor,
    turns: Tensor,
    gamma: float,
    gae_lambda: float,
    token_gamma: float,
    token_lambda: float,
) -> Tensor:
    """Sum discounted temporal differences over each row's decisions, by the definition."""
    advantages = torch.zeros_like(values)
    for row in range(len(values)):
        at = [t for t in range(turns.shape[1]) if turns[row, t] >= 0]
        for start in range(len(at)):
            weight, total = 1.0, 0.0
            for i in range(start, len(at)):
                last = i + 1 == len(at)
                crosses = not last and turns[row, at[i]] != turns[row, at[i + 1]]
                discount = token_gamma * (gamma if crosses else 1.0)
                following = 0.0 if last else float(values[row, at[i + 1]])
                delta = float(rewards[row, at[i]]) + discount * following
                total += weight * (delta - float(values[row, at[i]]))
                weight *= discount * token_lambda * (gae_lambda if crosses else 1.0)
            advantages[row, at[start]] = total
    return advantages


@given(data=conversations(), gamma=unit, gae_lambda=unit, token_gamma=unit, token_lambda=unit)
def test_gae_is_its_definition(
    data: tuple[Tensor, Tensor, Tensor],
    gamma: float,
    gae_lambda: float,
    token_gamma: float,
    token_lambda: float,
) -> None:
    rewards, values, turns = data
    found = losses.gae(
        rewards,
        values,
        turns,
        gamma=gamma,
        gae_lambda=gae_lambda,
        token_gamma=token_gamma,
        token_lambda=token_lambda,
    )
    expected = naive_gae(rewards, values, turns, gamma, gae_lambda, token_gamma, token_lambda)
    torch.testing.assert_close(found, expected)


# Customer, two tokens of the seller, customer, two tokens of the seller, padding.
TURNS = torch.tensor([[-1, 0, 0, -1, 1, 1, -1]])
VALUES = torch.tensor([[9.0, 0.1, 0.2, 9.0, 0.4, 0.7, 9.0]])
REWARDS = torch.tensor([[9.0, 0.0, 0.0, 9.0, 0.0, 1.0, 9.0]])


def test_gae_with_full_traces_is_the_outcome_less_the_value() -> None:
    advantages = losses.gae(REWARDS, VALUES, TURNS)
    expected = torch.tensor([[0.0, 0.9, 0.8, 0.0, 0.6, 0.3, 0.0]])
    torch.testing.assert_close(advantages, expected)


def test_gae_without_traces_is_the_temporal_difference_from_response_to_response() -> None:
    advantages = losses.gae(REWARDS, VALUES, TURNS, token_lambda=0.0)
    expected = torch.tensor([[0.0, 0.1, 0.2, 0.0, 0.3, 0.3, 0.0]])
    torch.testing.assert_close(advantages, expected)


def test_gamma_discounts_turns_and_not_tokens() -> None:
    zeros = torch.zeros_like(VALUES)
    advantages = losses.gae(REWARDS, zeros, TURNS, gamma=0.5)
    expected = torch.tensor([[0.0, 0.5, 0.5, 0.0, 1.0, 1.0, 0.0]])
    torch.testing.assert_close(advantages, expected)
    advantages = losses.gae(REWARDS, zeros, TURNS, token_gamma=0.5)
    expected = torch.tensor([[0.0, 0.125, 0.25, 0.0, 0.5, 1.0, 0.0]])
    torch.testing.assert_close(advantages, expected)


def test_the_reward_falls_on_the_last_response_token() -> None:
    response = torch.tensor([[False, True, True, False, True], [True, False, False, False, False]])
    response = torch.cat([response, torch.zeros(1, 5, dtype=torch.bool)])
    rewards = losses.final_rewards(torch.tensor([1.0, 0.5, 1.0]), response)
    expected = torch.tensor([[0, 0, 0, 0, 1.0], [0.5, 0, 0, 0, 0], [0, 0, 0, 0, 0]])
    torch.testing.assert_close(rewards, expected)


@pytest.mark.parametrize(
    ("ratio", "advantage", "loss", "gradient"),
    [
        (1.0, 2.0, -2.0, True),
        (1.1, 2.0, -2.2, True),
        (1.5, 2.0, -2.4, False),  # gained enough
        (0.5, 2.0, -1.0, True),  # lost ground: may be made good in full
        (0.5, -2.0, 1.6, False),
        (1.5, -2.0, 3.0, True),
    ],
)
def test_the_surrogate_is_clipped_where_it_gains(
    ratio: float, advantage: float, loss: float, gradient: bool
) -> None:
    logprobs = torch.tensor([math.log(ratio) - 1.0], requires_grad=True)
    found = losses.clipped_surrogate(
        logprobs, torch.tensor([-1.0]), torch.tensor([advantage]), clip=0.2
    )
    found.sum().backward()
    assert found.item() == pytest.approx(loss)
    assert logprobs.grad is not None
    assert bool(logprobs.grad.item()) is gradient


def test_the_clip_fraction_counts_ratios_outside_the_range() -> None:
    ratios = torch.tensor([1.0, 1.1, 1.3, 0.7])
    assert losses.clip_fraction(ratios.log(), torch.zeros(4), 0.2).item() == 0.5


def test_the_outcome_loss_is_the_binary_cross_entropy() -> None:
    logits, outcomes = torch.tensor([0.0, 2.0, -3.0]), torch.tensor([1.0, 1.0, 0.25])
    p = logits.sigmoid()
    expected = -(outcomes * p.log() + (1 - outcomes) * (1 - p).log())
    torch.testing.assert_close(losses.outcome_loss(logits, outcomes), expected)


def test_k2_averages_to_the_divergence_of_near_policies() -> None:
    """As an expectation over all tokens."""
    policy = torch.tensor([0.5, 0.2, 0.3])
    reference = torch.tensor([0.4, 0.3, 0.3])
    divergence = (policy * (policy / reference).log()).sum()
    expectation = (policy * losses.k2(policy.log(), reference.log())).sum()
    assert expectation.item() == pytest.approx(divergence.item(), rel=0.1)
    torch.testing.assert_close(losses.k2(policy.log(), policy.log()), torch.zeros(3))


@given(st.lists(st.tuples(st.floats(-5, 0), st.floats(-5, 0)), min_size=1))
def test_k2_is_never_negative(pairs: list[tuple[float, float]]) -> None:
    logprobs, reference = torch.tensor(pairs).T
    assert (losses.k2(logprobs, reference) >= 0).all()


def test_the_gradient_of_k2_is_that_of_the_divergence() -> None:
    logits = torch.tensor([0.3, -0.2, 0.5, 0.0], requires_grad=True)
    reference = torch.tensor([0.1, 0.4, 0.2, 0.3]).log()
    logprobs = logits.log_softmax(0)
    [exact] = torch.autograd.grad((logprobs.exp() * (logprobs - reference)).sum(), logits)
    logprobs = logits.log_softmax(0)
    sampled = (logprobs.exp().detach() * losses.k2(logprobs, reference)).sum()
    [estimated] = torch.autograd.grad(sampled, logits)
    torch.testing.assert_close(estimated, exact)


def test_discounted_outcomes_in_closed_form() -> None:
    turns = torch.tensor([[-1, 0, 0, -1, 1, 2], [-1, 0, -1, -1, -1, -1]])
    returns = losses.discounted_outcomes(torch.tensor([1.0, 1.0]), turns, gamma=0.5)
    assert returns[0, [1, 2, 4, 5]].tolist() == [0.25, 0.25, 0.5, 1.0]
    assert returns[1, 1] == 1.0
    assert torch.equal(
        losses.discounted_outcomes(torch.tensor([0.0, 1.0]), turns, gamma=1.0)[turns >= 0],
        torch.tensor([0.0, 0.0, 0.0, 0.0, 1.0]),
    )


def test_k3_averages_to_the_divergence_exactly() -> None:
    policy, reference = torch.tensor([0.5, 0.2, 0.3]), torch.tensor([0.1, 0.6, 0.3])
    divergence = (policy * (policy / reference).log()).sum()
    expectation = (policy * losses.k3(policy.log(), reference.log())).sum()
    torch.testing.assert_close(expectation, divergence)


@given(st.lists(st.tuples(st.floats(-5, 0), st.floats(-5, 0)), min_size=1))
def test_k3_is_never_negative(pairs: list[tuple[float, float]]) -> None:
    logprobs, reference = torch.tensor(pairs, dtype=torch.float64).T
    assert (losses.k3(logprobs, reference) >= 0).all()


def test_advantages_are_normalised_over_all_parts() -> None:
    parts = [torch.tensor([1.0, 2.0]), torch.tensor([6.0])]
    found = losses.normalised(parts)
    assert [len(part) for part in found] == [2, 1]
    expected = (torch.tensor([1.0, 2.0, 6.0]) - 3) / torch.tensor(14 / 3).sqrt()
    torch.testing.assert_close(torch.cat(found), expected)


@given(data=conversations(), gamma=unit, gae_lambda=unit)
def test_gae_over_turns_is_that_of_the_mdp_of_turns(
    data: tuple[Tensor, Tensor, Tensor], gamma: float, gae_lambda: float
) -> None:
    _, values, turns = data
    response = turns >= 0
    outcomes = torch.arange(1.0, len(turns) + 1, dtype=torch.float64)
    found = losses.gae(
        losses.final_rewards(outcomes, response),
        losses.over_turns(values, turns),
        turns,
        gamma=gamma,
        gae_lambda=gae_lambda,
    )
    expected = torch.zeros_like(values)
    for row in range(len(turns)):
        count = int(turns[row].max()) + 1
        # A step a turn: its state's value stands where the turn's first token was chosen.
        starts = [turns[row].tolist().index(turn) for turn in range(count)]
        advantage = following = 0.0
        for turn in reversed(range(count)):
            reward = float(outcomes[row]) if turn == count - 1 else 0.0
            value = float(values[row, starts[turn]])
            advantage = reward + gamma * following - value + gamma * gae_lambda * advantage
            following = value
            expected[row, turns[row] == turn] = advantage
    torch.testing.assert_close(found, expected)


@st.composite
def grouped(draw: st.DrawFn) -> tuple[list[float], list[int]]:
    groups = draw(st.lists(st.sampled_from([7, 3, 900]), min_size=1, max_size=12))
    numbers = st.lists(st.sampled_from([0.0, 1.0, 0.4]), min_size=len(groups), max_size=len(groups))
    return draw(numbers), groups


@given(grouped())
def test_advantages_within_groups_are_their_definitions(
    data: tuple[list[float], list[int]],
) -> None:
    rewards, groups = data
    by_deviation = losses.group_advantages(torch.tensor(rewards), torch.tensor(groups))
    by_others = losses.leave_one_out_advantages(torch.tensor(rewards), torch.tensor(groups))
    for i, reward in enumerate(rewards):
        members = [r for r, group in zip(rewards, groups, strict=True) if group == groups[i]]
        others = list(members)
        others.remove(reward)
        expected, deviation = 0.0, 0.0
        if others:
            expected = reward - sum(others) / len(others)
            deviation = statistics.stdev(members)
        assert by_others[i].item() == pytest.approx(expected, abs=1e-5)
        normal = (reward - statistics.mean(members)) / deviation if deviation else 0.0
        assert by_deviation[i].item() == pytest.approx(normal, abs=0.1 if not deviation else 1e-3)
    # What all have in common is nobody's merit.
    for each in (by_deviation, by_others):
        for group in set(groups):
            assert each[torch.tensor(groups) == group].sum().item() == pytest.approx(0, abs=1e-4)


@given(st.lists(st.floats(-3, 3, width=32), min_size=1, max_size=6), st.floats(0.05, 0.95))
def test_the_expectile_loss_weighs_the_two_sides(differences: list[float], tau: float) -> None:
    found = losses.expectile_loss(torch.tensor(differences, dtype=torch.float64), tau)
    naive = [(tau if u >= 0 else 1 - tau) * u**2 for u in differences]
    assert found.tolist() == pytest.approx(naive, abs=1e-6)


@pytest.mark.parametrize(("tau", "expected"), [(0.5, 0.3), (0.9, 0.7941), (0.1, 0.0455)])
def test_what_minimises_the_expectile_loss(tau: float, expected: float) -> None:
    """Of outcomes of which 3 in 10 are 1, the rest 0: 0.3 tau / (0.3 tau + 0.7 (1 - tau))."""
    outcomes = torch.tensor([1.0] * 3 + [0.0] * 7, dtype=torch.float64)
    assert 0.3 * tau / (0.3 * tau + 0.7 * (1 - tau)) == pytest.approx(expected, abs=1e-4)
    grid = torch.linspace(0, 1, 2001, dtype=torch.float64)
    loss = losses.expectile_loss(outcomes - grid[:, None], tau).mean(1)
    assert float(grid[loss.argmin()]) == pytest.approx(expected, abs=1e-3)
