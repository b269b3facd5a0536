"""The theory of Iterative PPO (arXiv 2511.21638) on conversations that are solved exactly.

Notation: S states, A responses, P prefixes of a response, V tokens; Q, V and A = Q - V without a
hat are exact values of the old policy pi; pi' is the new one.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from convgym.agents.training import losses
from convgym.agents.values.fitting import lambda_returns
from tests.learning.tabular import (
    PREFIXES,
    RESPONSES,
    SPELLINGS,
    VOCABULARY,
    Array,
    ConversationMDP,
    divergence,
    greedy,
    local_token_policy,
    random_mdp,
    random_policy,
    response_policy,
    soft_token_policy,
    tilted,
    token_policy,
    token_values,
    trajectories,
)

torch.set_num_threads(1)

TOLERANCE = 1e-9

generators = st.integers(0, 2**32 - 1).map(np.random.default_rng)
betas = st.floats(0.01, 2.0)


@st.composite
def problems(draw: st.DrawFn) -> tuple[ConversationMDP, Array, np.random.Generator]:
    """Return an MDP, discounted or of a finite horizon, a policy for it, and randomness."""
    rng = draw(generators)
    if draw(st.booleans()):
        mdp = random_mdp(rng, states=draw(st.integers(1, 4)), gamma=draw(st.floats(0.0, 0.99)))
    else:
        mdp = random_mdp(rng, states=2, gamma=1.0, turns=draw(st.integers(1, 3)))
    return mdp, random_policy(rng, len(mdp.rewards), draw(st.sampled_from([0.1, 1.0, 10.0]))), rng


def expected(policy: Array, values: Array) -> Array:
    """Return E_{a ~ policy} values (S,)."""
    total: Array = (policy * values).sum(1)
    return total


# Improvement: Theorem 1 and the identity it rests on.


@given(problems(), betas, st.sampled_from(["greedy", "tilt", "part of the way"]))
def test_a_policy_better_in_every_state_for_one_turn_is_better_for_all(
    problem: tuple[ConversationMDP, Array, np.random.Generator], beta: float, way: str
) -> None:
    """Theorem 1: E_{pi'} Q >= E_pi Q in every state implies V' >= V in every state."""
    mdp, policy, rng = problem
    q = mdp.action_values(policy)
    new = greedy(q) if way == "greedy" else tilted(policy, q, beta)
    if way == "part of the way":  # as far in each state as it happens
        share = rng.random((len(policy), 1))
        new = share * new + (1 - share) * policy
    assert (expected(new, q) >= expected(policy, q) - TOLERANCE).all()
    assert (mdp.values(new) >= mdp.values(policy) - TOLERANCE).all()


@given(problems())
def test_performance_difference(
    problem: tuple[ConversationMDP, Array, np.random.Generator],
) -> None:
    """V' - V = sum_t gamma^t E_{s_t ~ pi'} E_{a ~ pi'} A(s_t, a), for any two policies."""
    mdp, policy, rng = problem
    new = random_policy(rng, len(policy))
    advantage = expected(new, mdp.action_values(policy)) - mdp.values(policy)
    difference = mdp.values(new) - mdp.values(policy)
    np.testing.assert_allclose(difference, mdp.visits(new) @ advantage, atol=TOLERANCE)


def two_states() -> tuple[ConversationMDP, Array]:
    """From the first state, response 1 leads to the second; all else ends the conversation.

    In the first, every other response sells to half of the customers. In the second, response 0
    sells to 9 in 10 and every other one to 3 in 10.
    """
    transitions, rewards = np.zeros((2, len(RESPONSES), 2)), np.zeros((2, len(RESPONSES)))
    transitions[0, 1, 1] = 1.0
    rewards[0], rewards[0, 1], rewards[1], rewards[1, 0] = 0.5, 0.0, 0.3, 0.9
    policy = np.zeros_like(rewards)
    policy[0, :2], policy[1, 0] = (0.9, 0.1), 1.0
    return ConversationMDP(transitions, rewards, gamma=1.0), policy


def test_one_state_without_improvement_can_make_the_policy_worse() -> None:
    """It is not enough that Q rises *on average* over the states that the old policy met.

    The new policy goes to the second state more often, where it has become worse. The old policy
    was seldom there, so that the mean of Q over its states rises while conversion falls.
    """
    mdp, policy = two_states()
    q = mdp.action_values(policy)
    new = policy.copy()
    new[0, :2], new[1, :2] = (0.0, 1.0), (0.0, 1.0)
    gain = expected(new, q) - expected(policy, q)
    met = mdp.visits(policy)[0] / mdp.visits(policy)[0].sum()
    np.testing.assert_allclose(gain, [0.36, -0.6])
    assert met @ gain > 0.2
    assert mdp.values(policy)[0] == pytest.approx(0.54)
    assert mdp.values(new)[0] == pytest.approx(0.3)
    # With the second state left as it was, the same change of the first is a gain.
    new[1] = policy[1]
    assert mdp.values(new)[0] == pytest.approx(0.9)


# Improvement with an imperfect Q and an imperfect solver: Theorem 2.


def theorem_2(
    mdp: ConversationMDP, policy: Array, new: Array, estimate: Array, beta: float
) -> tuple[Array, Array]:
    """Return V' - V (S,) and Theorem 2's lower bound on it (S,), for every state to start from.

    With objective J_s(p) = E_{a ~ p} Q_hat(s, a) - beta KL(p, pi), slack
    delta_s = max_p J_s(p) - J_s(pi') and eps_Q = max |Q_hat - Q|:

    1. J_s(pi') >= J_s(pi) - delta_s, and pi has no divergence from itself, so
       E_{pi'} Q_hat - E_pi Q_hat >= beta KL(pi', pi) - delta_s;
    2. replacing Q_hat by Q costs at most eps_Q on either side, so
       E_{pi'} A(s, a) >= beta KL(pi', pi) - delta_s - 2 eps_Q;
    3. the performance difference sums the left side over the states that pi' meets.

    So V'(s_0) - V(s_0) >= sum_s M[s_0, s] (beta KL - delta_s - 2 eps_Q) with M the discounted
    numbers of visits under pi'. The paper's 1 / (1 - gamma) E_{s ~ d} is the same sum, with
    d = (1 - gamma) M[s_0] the *normalised* distribution, in which the absorbing end has the rest of
    the mass and contributes nothing: there is no response in it, hence no divergence, slack or
    error. The form with M holds for gamma = 1 as well. V is not normalised: it is the probability
    of a purchase at gamma = 1.
    """
    eps_q = np.abs(estimate - mdp.action_values(policy)).max()
    kl = divergence(new, policy)
    # The best J_s is that of the tilt, beta log E_pi exp(Q_hat / beta).
    top = estimate.max(1)
    best = top + beta * np.log(expected(policy, np.exp((estimate - top[:, None]) / beta)))
    slack = best - (expected(new, estimate) - beta * kl)
    assert (slack > -TOLERANCE).all()
    bound: Array = mdp.visits(new) @ (beta * kl - slack - 2 * eps_q)
    return mdp.values(new) - mdp.values(policy), bound


@given(problems(), betas, st.floats(0.0, 0.5), st.floats(0.0, 1.0))
def test_value_is_bounded_from_below_with_a_noisy_q_and_an_unfinished_step(
    problem: tuple[ConversationMDP, Array, np.random.Generator],
    beta: float,
    noise: float,
    unfinished: float,
) -> None:
    mdp, policy, rng = problem
    q = mdp.action_values(policy)
    estimate = q + noise * rng.uniform(-1, 1, q.shape)
    new = (1 - unfinished) * tilted(policy, estimate, beta)
    new += unfinished * random_policy(rng, len(policy))
    gain, bound = theorem_2(mdp, policy, new, estimate, beta)
    assert (gain >= bound - TOLERANCE).all()


@pytest.mark.parametrize(("gamma", "turns"), [(0.9, None), (1.0, 4)])
def test_the_bound_can_promise_a_gain(gamma: float, turns: int | None) -> None:
    rng = np.random.default_rng(0)
    mdp = random_mdp(rng, gamma=gamma, turns=turns)
    policy = random_policy(rng, len(mdp.rewards))
    q = mdp.action_values(policy)
    estimate = q + 0.01 * rng.uniform(-1, 1, q.shape)
    gain, bound = theorem_2(mdp, policy, tilted(policy, estimate, 0.2), estimate, 0.2)
    assert bound.min() > 0.02
    # Half of what a step gains is paid back as divergence, so the bound is about half the gain.
    assert (bound / gain).max() < 0.6
    # A good policy that takes a bold step on a Q that is noise is promised nothing, and loses.
    good, estimate = tilted(policy, q, 0.05), rng.uniform(0, 1, q.shape)
    gain, bound = theorem_2(mdp, good, tilted(good, estimate, 0.02), estimate, 0.02)
    assert (bound <= gain).all() and gain.mean() < -0.1


def test_the_bound_needs_the_error_of_q() -> None:
    """Where one bad response is overrated, the bound without 2 eps_Q would be false."""
    mdp, policy = two_states()
    policy = 0.9 * policy + 0.1 / len(RESPONSES)
    estimate = mdp.action_values(policy)
    estimate[1, 5] += 1.0  # in truth among the worst
    gain, bound = theorem_2(mdp, policy, tilted(policy, estimate, 0.05), estimate, 0.05)
    eps_q = 1.0
    assert gain[1] < -0.3
    assert bound[1] + 2 * eps_q > gain[1] >= bound[1]


# Token by token: the two views of one response.


@given(problems(), betas)
def test_soft_value_iteration_over_tokens_solves_the_problem_over_responses(
    problem: tuple[ConversationMDP, Array, np.random.Generator], beta: float
) -> None:
    """Both maximise E Q - beta KL, and the tokens' divergences add up to the response's."""
    mdp, policy, rng = problem
    q, tokens = mdp.action_values(policy), token_policy(policy)
    np.testing.assert_allclose(response_policy(tokens), policy, atol=TOLERANCE)
    best = response_policy(soft_token_policy(tokens, q, beta))
    np.testing.assert_allclose(best, tilted(policy, q, beta), atol=TOLERANCE)

    other = random_policy(rng, len(policy))
    reached = np.zeros((len(policy), len(PREFIXES)))  # probability of each prefix under `other`
    for response, spelling in enumerate(SPELLINGS):
        for prefix, _ in spelling:
            reached[:, prefix] += other[:, response]
    by_token = (reached * divergence(token_policy(other), tokens)).sum(1)
    np.testing.assert_allclose(by_token, divergence(other, policy), atol=TOLERANCE)


# Every response as a row of tokens: (A, T) prefixes, tokens, and True where there is a token.
WIDTH = max(map(len, SPELLINGS))
ROWS = torch.tensor([[*spelling, *[(0, 0)] * (WIDTH - len(spelling))] for spelling in SPELLINGS])
PRESENT = torch.arange(WIDTH) < torch.tensor([[len(spelling)] for spelling in SPELLINGS])

Penalty = Callable[[Tensor, Tensor, Tensor], Tensor]


def token_ppo(
    reference: Array,
    q: Array,
    beta: float,
    *,
    penalty: Penalty | None = None,
    logged: bool = False,
    clip: float = 0.2,
    samples: int | None = None,
    updates: int = 300,
) -> Array:
    """Run the project's PPO on a table of token logits (S, P, V) and return what it learnt (S, A).

    Args:
        reference: token policy to start from and to stay near.
        q: (S, A), the score of a response.
        beta: weight of the KL divergence.
        penalty: maps distributions (S, A, T, V), tokens' log-probabilities and the reference's
            (S, A, T) to a divergence per token, which is added to the loss; None to subtract the
            divergence from the score instead.
        logged: learn from the reference's own responses throughout, not from fresh ones.
        clip: of the probability ratio.
        samples: responses per state and update; None for the exact expectation.
        updates: times that fresh responses are taken.
    """
    states, generator = len(q), torch.Generator().manual_seed(0)
    scores, start = torch.tensor(q), torch.tensor(reference).log()
    logits = start.clone().requires_grad_()
    optimizer = torch.optim.Adam([logits], lr=0.05)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.02, updates)
    prefixes, tokens = ROWS.unbind(-1)
    turns = torch.where(PRESENT, 0, -1)

    def spell(distributions: Tensor) -> Tensor:  # (S, P, V) -> (S, A, T)
        return torch.where(PRESENT, distributions[:, prefixes, tokens], 0.0)

    anchor = spell(start)
    for _ in range(updates):
        with torch.no_grad():
            speaker = start if logged else logits.log_softmax(-1)
            old = spell(speaker)
            total = scores if penalty else scores - beta * (old - anchor).sum(-1)
            # The baseline of a token is the mean score of the responses that begin as this one.
            means, _ = token_values(speaker.exp().numpy(), total.numpy())
            baseline = torch.tensor(means)[:, prefixes]
            advantages = torch.stack(
                [
                    losses.gae(losses.final_rewards(total[s], PRESENT), baseline[s], turns)
                    for s in range(states)
                ]
            )
            weights = old.sum(-1).exp()  # (S, A)
            if samples:
                drawn = weights.multinomial(samples, replacement=True, generator=generator)
                counts = torch.zeros_like(weights).scatter_add_(
                    1, drawn, torch.ones_like(drawn, dtype=weights.dtype)
                )
                weights = counts / samples
        for _ in range(2):
            distributions = logits.log_softmax(-1)
            new = spell(distributions)
            loss = losses.clipped_surrogate(new, old, advantages, clip)
            if penalty:
                loss = loss + beta * penalty(distributions[:, prefixes], new, anchor)
            optimizer.zero_grad()
            (weights[:, :, None] * loss * PRESENT).sum().backward()
            optimizer.step()
        schedule.step()
    return response_policy(logits.softmax(-1).detach().numpy())


@pytest.fixture
def improvement() -> tuple[Array, Array, float]:
    """Return a policy (S, A), its Q (S, A) and a weight that allows a step of about 1/2 nat."""
    rng = np.random.default_rng(3)
    mdp = random_mdp(rng, states=3)
    policy = random_policy(rng, 3, concentration=5.0)
    return policy, mdp.action_values(policy), 0.15


def test_ppo_finds_the_tilt_when_the_score_pays_for_the_divergence(
    improvement: tuple[Array, Array, float],
) -> None:
    """Score Q - beta log(p(a) / pi(a)) of the whole response: at the tilt it is the same for all.

    So every advantage vanishes there, and the tilt pi exp(Q / beta) / Z is PPO's fixed point, with
    responses sampled as well as with all of them.
    """
    policy, q, beta = improvement
    best = tilted(policy, q, beta)
    assert divergence(best, policy).min() > 0.1
    assert divergence(token_ppo(token_policy(policy), q, beta), best).max() < 1e-4
    sampled = token_ppo(token_policy(policy), q, beta, samples=64)
    assert divergence(sampled, best).max() < 3e-3


def exact_penalty(reference: Array) -> Penalty:
    """Return the divergence of each token's distribution, as on fresh responses."""
    anchor = torch.tensor(reference).log()[:, ROWS[..., 0]]

    def penalty(distributions: Tensor, new: Tensor, old: Tensor) -> Tensor:
        return (distributions.exp() * (distributions - anchor)).sum(-1)

    return penalty


@pytest.mark.parametrize("estimator", ["exact", "k2"])
def test_a_divergence_per_token_in_the_loss_has_another_fixed_point(
    improvement: tuple[Array, Array, float], estimator: str
) -> None:
    """The gradient of a penalty at the tokens that were visited does not see that a token decides
    which tokens, and which divergences, follow. So each token takes a KL-regularised greedy step
    of its own on the mean score, not on the log-mean-exp that soft value iteration demands.

    For responses of one token there is no difference; for longer ones the step is another, though
    still an improvement in every state, so that Theorem 1 covers it.
    """
    policy, q, beta = improvement
    reference = token_policy(policy)
    penalty = exact_penalty(reference)
    if estimator == "k2":

        def penalty(distributions: Tensor, new: Tensor, old: Tensor) -> Tensor:
            return losses.k2(new, old)

    local = response_policy(local_token_policy(reference, q, beta))
    found = token_ppo(reference, q, beta, penalty=penalty)
    assert divergence(found, local).max() < 1e-4
    assert divergence(local, tilted(policy, q, beta)).max() > 0.01
    assert (expected(local, q) > expected(policy, q)).all()


def test_on_logged_responses_each_token_is_judged_by_how_the_reference_goes_on(
    improvement: tuple[Array, Array, float],
) -> None:
    """With the reference's own responses and a divergence per token in the loss, the fixed point is
    a tilt of each token by its advantage under the *reference*, again an improvement. PPO's clip
    stops long before: ratios stay near 1 - clip .. 1 + clip, whatever the weight of the divergence.
    """
    policy, q, beta = improvement
    reference = token_policy(policy)
    _, q_tokens = token_values(reference, q)
    tilt = tilted(
        reference.reshape(-1, VOCABULARY), q_tokens.reshape(-1, VOCABULARY), beta
    ).reshape(reference.shape)
    best = response_policy(tilt)

    def learnt(clip: float) -> Array:
        return token_ppo(
            reference, q, beta, penalty=exact_penalty(reference), logged=True, clip=clip
        )

    assert divergence(learnt(clip=1e9), best).max() < 1e-4
    assert (expected(best, q) > expected(policy, q)).all()
    clipped = learnt(clip=0.2)
    ratios = token_policy(clipped) / reference
    assert ratios.max() < 1.5 < (tilt / reference).max()
    assert (divergence(clipped, policy) < 0.5 * divergence(best, policy)).all()
    assert (expected(clipped, q) > expected(policy, q)).all()


# What is estimated from logged conversations is right in expectation.


@pytest.fixture(scope="module", params=[1.0, 0.8])
def log(request: pytest.FixtureRequest) -> Log:
    return Log(gamma=request.param)


class Log:
    """All conversations of up to three turns that a policy can have, with their probabilities."""

    def __init__(self, gamma: float) -> None:
        rng = np.random.default_rng(1)
        mdp = random_mdp(rng, states=2, gamma=gamma, turns=3)
        # Few responses are possible in a state, which keeps the conversations few.
        policy = random_policy(rng, len(mdp.rewards))
        policy = np.where(policy >= np.sort(policy, axis=1)[:, [-5]], policy, 0.0)
        policy /= policy.sum(1, keepdims=True)
        self.gamma, self.v, self.q = gamma, mdp.values(policy), mdp.action_values(policy)
        self.paths = [path for state in (0, 1) for path in trajectories(mdp, policy, state)]
        self.weights = np.array([path.probability for path in self.paths])
        with np.errstate(invalid="ignore"):  # prefixes that are never reached
            tokens = np.nan_to_num(token_policy(policy))
        self.token_v, self.token_q = token_values(tokens, self.q)

    def mean(self, keys: Array, values: Array, weights: Array) -> tuple[Array, Array]:
        """Return the distinct keys (G, ...) and the weighted mean (G,) of the values of each."""
        found, group = np.unique(keys, axis=0, return_inverse=True)
        sums = np.bincount(group, weights * values)
        return found, sums / np.bincount(group, weights)


@pytest.mark.parametrize("return_lambda", [0.0, 0.5, 0.9, 1.0])
def test_lambda_returns_estimate_q(log: Log, return_lambda: float) -> None:
    """E[G_i | s_i, a_i] = Q(s_i, a_i) for every lambda, with exact values to lean on."""

    def mean_returns(values: Array) -> tuple[Array, Array]:
        keys: list[tuple[int, int]] = []
        returns: list[float] = []
        weights: list[float] = []
        for path in log.paths:
            seen = [float(values[state]) for state in path.states]
            returns += lambda_returns(
                seen, path.outcome, gamma=log.gamma, return_lambda=return_lambda
            )
            keys += zip(path.states, path.responses, strict=True)
            weights += [path.probability] * len(seen)
        return log.mean(np.array(keys), np.array(returns), np.array(weights))

    keys, found = mean_returns(log.v)
    assert set(keys[:, 0]) == set(range(6))
    np.testing.assert_allclose(found, log.q[keys[:, 0], keys[:, 1]], atol=TOLERANCE)
    # With values that are wrong only Monte Carlo is right.
    off = np.abs(mean_returns(log.v + 0.1)[1] - log.q[keys[:, 0], keys[:, 1]]).max()
    assert off < TOLERANCE if return_lambda == 1.0 else off > 0.005


@pytest.mark.parametrize(
    ("gae_lambda", "token_lambda"), [(1.0, 1.0), (0.9, 1.0), (0.5, 0.7), (0.0, 0.0)]
)
def test_gae_estimates_the_advantage_of_every_token(
    log: Log, gae_lambda: float, token_lambda: float
) -> None:
    """E[A_t | state, tokens so far, token] = Q(... token) - V(...), with exact values."""
    spelt = [
        [
            (turn, state, prefix, token)
            for turn, (state, response) in enumerate(zip(path.states, path.responses, strict=True))
            for prefix, token in SPELLINGS[response]
        ]
        for path in log.paths
    ]
    width = max(map(len, spelt))
    rows = torch.tensor([[*row, *[(-1, 0, 0, 0)] * (width - len(row))] for row in spelt])
    turns, states, prefixes, tokens = rows.unbind(-1)
    outcomes = torch.tensor([path.outcome for path in log.paths], dtype=torch.float64)
    present = turns >= 0

    def mean_advantages(values: Array) -> tuple[Array, Array]:
        found = losses.gae(
            losses.final_rewards(outcomes, present),
            torch.tensor(values)[states, prefixes],
            turns,
            gamma=log.gamma,
            gae_lambda=gae_lambda,
            token_lambda=token_lambda,
        )
        weights = torch.tensor(log.weights)[:, None].expand_as(found)
        keys = torch.stack([states, prefixes, tokens], dim=-1)[present].numpy()
        return log.mean(keys, found[present].numpy(), weights[present].numpy())

    keys, found = mean_advantages(log.token_v)
    s, p, t = keys.T
    exact = log.token_q[s, p, t] - log.token_v[s, p]
    np.testing.assert_allclose(found, exact, atol=1e-7)  # gae's discounts are of single precision
    assert len(keys) > VOCABULARY * 6  # more than the first tokens
    # With a baseline that is wrong only Monte Carlo still finds the return.
    wrong = log.token_v + np.linspace(0, 0.2, log.token_v.size).reshape(log.token_v.shape)
    off = np.abs(mean_advantages(wrong)[1] + wrong[s, p] - log.token_q[s, p, t]).max()
    assert off < 1e-7 if gae_lambda == token_lambda == 1.0 else off > 0.005
