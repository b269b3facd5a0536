"""The mathematics of token-level policy optimisation, as pure functions of tensors.

Sources: PPO, Schulman et al. 2017 (arXiv 1707.06347); generalised advantage estimation, Schulman
et al. 2016 (arXiv 1506.02438); the KL estimators k2 and k3, Schulman 2020, "Approximating KL
divergence"; advantages within groups, Shao et al. 2024 (GRPO, arXiv 2402.03300) and Ahmadian et al.
2024 (RLOO, arXiv 2402.14740); the expectile loss, Kostrikov et al. 2021 (IQL, arXiv 2110.06169).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional


def gae(
    rewards: Tensor,
    values: Tensor,
    turns: Tensor,
    *,
    gamma: float = 1.0,
    gae_lambda: float = 1.0,
    token_gamma: float = 1.0,
    token_lambda: float = 1.0,
) -> Tensor:
    """Return the advantages (B, T) of response tokens over whole conversations.

    The customer's tokens are no decisions and are skipped: a response's last token is followed by
    the next response's first. With decision i at token t_i and V past the last decision 0::

        delta_i = r_i + gamma_i V_{i+1} - V_i
        A_i     = delta_i + gamma_i lambda_i A_{i+1}

    where gamma_i = ``token_gamma`` within a turn and ``token_gamma * gamma`` from one turn to the
    next, and likewise lambda_i from ``token_lambda`` and ``gae_lambda``.

    Args:
        rewards: (B, T), read at response tokens.
        values: (B, T), value of the state in which the response token at t was chosen.
        turns: (B, T), the turn's number at response tokens, -1 elsewhere.
        gamma: discount per turn.
        gae_lambda: trace decay per turn.
        token_gamma: discount per token.
        token_lambda: trace decay per token.

    Returns:
        Advantages, 0 where there is no response token. Returns are advantages + values there.
    """
    advantages = torch.zeros_like(values)
    next_advantage, next_value = values.new_zeros(2, len(values))
    next_turn = turns.new_full((len(turns),), -1)
    for t in reversed(range(values.shape[1])):
        decision = turns[:, t] >= 0
        crosses = turns[:, t] != next_turn
        discount = token_gamma * torch.where(crosses, gamma, 1.0)
        decay = token_lambda * torch.where(crosses, gae_lambda, 1.0)
        delta = rewards[:, t] + discount * next_value - values[:, t]
        advantage = delta + discount * decay * next_advantage
        advantages[:, t] = torch.where(decision, advantage, 0.0)
        next_advantage = torch.where(decision, advantage, next_advantage)
        next_value = torch.where(decision, values[:, t], next_value)
        next_turn = torch.where(decision, turns[:, t], next_turn)
    return advantages


def final_rewards(outcomes: Tensor, response: Tensor) -> Tensor:
    """Return rewards (B, T): the outcome (B,) at each row's last response token, else 0."""
    later = response.flip(1).cumsum(1).flip(1)
    return torch.where(response & (later == 1), outcomes[:, None], 0.0)


def discounted_outcomes(outcomes: Tensor, turns: Tensor, gamma: float) -> Tensor:
    """Return what the state before each response token is worth (B, T): its critic's target.

    The outcome (B,) comes with the last turn, so in turn i of n it is discounted by
    ``gamma ** (n - 1 - i)``; what stands at tokens that are no response's is meaningless.
    """
    last = turns.amax(dim=1, keepdim=True)
    return outcomes[:, None] * gamma ** (last - turns).float()


def clipped_surrogate(
    logprobs: Tensor, old_logprobs: Tensor, advantages: Tensor, clip: float
) -> Tensor:
    """Return PPO's loss per token, ``-min(ratio A, clip(ratio, 1 - clip, 1 + clip) A)``."""
    ratio = (logprobs - old_logprobs).exp()
    clipped = ratio.clamp(1 - clip, 1 + clip)
    return -torch.minimum(ratio * advantages, clipped * advantages)


def normalised(advantages: Sequence[Tensor]) -> list[Tensor]:
    """Return advantages, given in parts, with mean 0 and standard deviation 1 over all of them."""
    everything = torch.cat(list(advantages))
    mean, deviation = everything.mean(), everything.std(correction=0) + 1e-8
    return [(part - mean) / deviation for part in advantages]


def over_turns(values: Tensor, turns: Tensor) -> Tensor:
    """Return the value (B, T) of the state that opens its turn, for every response token.

    With these for values, ``gae`` is that of the MDP whose steps are turns: temporal differences
    are 0 within a turn, so that all of its tokens have the advantage of the turn.

    Args:
        values: (B, T), value of the state in which the response token at t was chosen.
        turns: (B, T), the turn's number at response tokens, -1 elsewhere.
    """
    columns = torch.arange(turns.shape[1], device=turns.device).expand_as(turns)
    begins = turns != functional.pad(turns[:, :-1], (1, 0), value=-1)
    return values.gather(1, torch.where(begins, columns, 0).cummax(dim=1).values)


def group_advantages(rewards: Tensor, groups: Tensor) -> Tensor:
    """Return GRPO's advantages (N,): each reward less its group's mean, by the group's deviation.

    The deviation is that of the sample, as of N - 1. A group whose rewards are all alike has
    advantages of 0, and so has a group of one.

    Args:
        rewards: (N,).
        groups: (N,), each one's group, any integer.
    """
    centred, _, members = _within_groups(rewards, groups)
    sums = rewards.new_zeros(int(members.max()) + 1).index_add(0, members, centred.square())
    sizes = torch.bincount(members)
    deviations = (sums / (sizes - 1).clamp(min=1)).sqrt()
    return centred / (deviations[members] + 1e-6)


def leave_one_out_advantages(rewards: Tensor, groups: Tensor) -> Tensor:
    """Return RLOO's advantages (N,): each reward less the mean of the others in its group.

    Arguments as of ``group_advantages``. A group of one has an advantage of 0.
    """
    centred, sizes, _ = _within_groups(rewards, groups)
    # r - (sum - r) / (n - 1) = (r - mean) n / (n - 1)
    return centred * sizes / (sizes - 1).clamp(min=1)


def _within_groups(rewards: Tensor, groups: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return rewards less their group's mean, the group's size, and its number from 0, all (N,)."""
    members = groups.unique(return_inverse=True)[1]
    sizes = torch.bincount(members)
    means = rewards.new_zeros(len(sizes)).index_add(0, members, rewards) / sizes
    return rewards - means[members], sizes[members], members


def clip_fraction(logprobs: Tensor, old_logprobs: Tensor, clip: float) -> Tensor:
    """Return the share of tokens whose probability ratio lies outside the clip range."""
    return (((logprobs - old_logprobs).exp() - 1).abs() > clip).float().mean()


def expectile_loss(differences: Tensor, tau: float) -> Tensor:
    """Return ``|tau - 1(u < 0)| u^2`` of every difference u (IQL, arXiv 2110.06169).

    The constant that minimises its mean over differences from it is the tau-expectile: the mean for
    1/2, towards the largest as tau goes to 1.
    """
    return torch.where(differences < 0, 1 - tau, tau) * differences.square()


def outcome_loss(logits: Tensor, outcomes: Tensor) -> Tensor:
    """Return the binary cross-entropy per element of value logits against outcomes in [0, 1]."""
    return functional.binary_cross_entropy_with_logits(logits, outcomes, reduction="none")


def k2(logprobs: Tensor, reference: Tensor) -> Tensor:
    """Estimate KL(policy, reference) per sampled token: half the squared log-ratio, biased.

    Its gradient, on the policy's own samples, is the gradient of the KL divergence.
    """
    return 0.5 * (logprobs - reference).square()


def k3(logprobs: Tensor, reference: Tensor) -> Tensor:
    """Estimate KL(policy, reference) per sampled token, unbiased and never negative.

    ``exp(d) - d - 1`` with d the log-ratio of the reference and the policy (GRPO, equation 4).
    """
    difference = reference - logprobs
    return difference.exp() - difference - 1
