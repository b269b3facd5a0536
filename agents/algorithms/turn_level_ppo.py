"""Turn-level PPO: an actor-critic whose steps are turns, a deployment for every update.

Li et al. 2025, "Turn-PPO" (arXiv 2512.17008): the decision process of a conversation has whole
responses for actions, so the critic judges the states that a turn begins in, and nothing between.
"""

from __future__ import annotations

from dataclasses import dataclass

from convgym.agents.values.actor_critic import TURNS, ActorCriticAgent, ActorCriticConfig


@dataclass(frozen=True, slots=True)
class TurnLevelPPOConfig(ActorCriticConfig):
    """Hyperparameters of turn-level PPO."""


class TurnLevelPPO(ActorCriticAgent):
    """PPO on the decision process of turns (Turn-PPO, Li et al. 2025, arXiv 2512.17008).

    The state s_h is the conversation when turn h begins, the action the whole response to it, and
    the reward r_h the outcome after the last turn. With a critic V of these states, and lambda the
    ``gae_lambda``::

        delta_h = r_h + gamma V(s_{h+1}) - V(s_h)
        A_h     = delta_h + gamma lambda A_{h+1}
        maximise  E_{t in turn h} min(rho_t A_h, clip(rho_t, 1 - clip, 1 + clip) A_h)
                  - kl_coefficient * E_t (log pi_t - log pi_start_t)^2 / 2

    Every token of a response has its turn's advantage; the ratio rho_t is each token's own, and is
    clipped as such. Followed of the paper are the states, the actions and the advantages; all
    else is as in ``online-ppo``, so that the two differ in credit alone.

    Needs customers for every update. ``learning_rate``, ``deployment`` or ``rounds``, and
    ``kl_coefficient`` matter most.

    Raises:
        ConvgymError: when the model that ``config.policy`` names cannot be loaded.
    """

    Config = TurnLevelPPOConfig
    config: TurnLevelPPOConfig
    steps = TURNS
