"""Fully online PPO: token-level actor-critic, a deployment for every update.

Schulman et al. 2017 (arXiv 1707.06347), on whole conversations: one row of tokens each, the
customer's tokens masked out, the outcome as the only reward, at the last response token.
"""

from __future__ import annotations

from dataclasses import dataclass

from convgym.agents.values.actor_critic import TOKENS, ActorCriticAgent, ActorCriticConfig


@dataclass(frozen=True, slots=True)
class OnlinePPOConfig(ActorCriticConfig):
    """Hyperparameters of online PPO."""


class OnlinePPO(ActorCriticAgent):
    """Fully online PPO (Schulman et al. 2017, arXiv 1707.06347) on whole conversations.

    After every deployment of ``config.deployment`` conversations, with the ratio rho_t of the new
    and the old probability of response token t, and generalised advantages A_t (arXiv 1506.02438)
    of a critic that is a copy of the model with a scalar head::

        maximise  E_t min(rho_t A_t, clip(rho_t, 1 - clip, 1 + clip) A_t)
                  - kl_coefficient * E_t (log pi_t - log pi_start_t)^2 / 2

    The reward is the outcome, at the last response token. Within a response no value is
    discounted; from turn to turn ``gamma`` and ``gae_lambda`` hold.

    Needs customers for every update. ``learning_rate``, ``deployment`` or ``rounds``, and
    ``kl_coefficient`` matter most.

    Raises:
        ConvgymError: when the model that ``config.policy`` names cannot be loaded.
    """

    Config = OnlinePPOConfig
    config: OnlinePPOConfig
    steps = TOKENS
