"""The mathematics of token-level policy optimisation, as pure functions of tensors.

Sources: PPO, Schulman et al. 2017 (arXiv 1707.06347); generalised advantage estimation, Schulman
et al. 2016 (arXiv 1506.02438); the KL estimator k2, Schulman 2020, "Approximating KL divergence".
"""

from __future__ import annotations

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


def clip_fraction(logprobs: Tensor, old_logprobs: Tensor, clip: float) -> Tensor:
    """Return the share of tokens whose probability ratio lies outside the clip range."""
    return (((logprobs - old_logprobs).exp() - 1).abs() > clip).float().mean()


def outcome_loss(logits: Tensor, outcomes: Tensor) -> Tensor:
    """Return the binary cross-entropy per element of value logits against outcomes in [0, 1]."""
    return functional.binary_cross_entropy_with_logits(logits, outcomes, reduction="none")


def k2(logprobs: Tensor, reference: Tensor) -> Tensor:
    """Estimate KL(policy, reference) per sampled token: half the squared log-ratio, biased.

    Its gradient, on the policy's own samples, is the gradient of the KL divergence.
    """
    return 0.5 * (logprobs - reference).square()
