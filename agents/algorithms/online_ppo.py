"""Fully online PPO: token-level actor-critic, a deployment for every update.

Schulman et al. 2017 (arXiv 1707.06347), on whole conversations: one row of tokens each, the
customer's tokens masked out, the outcome as the only reward, at the last response token.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from convgym.agents.protocol import TrainingReport
from convgym.agents.training.base import LanguageModelAgent
from convgym.agents.training.collector import Collector
from convgym.agents.values.actor_critic import TOKENS, ActorCritic, ActorCriticConfig
from convgym.progress import Progress, ProgressCallback, no_progress


@dataclass(frozen=True, slots=True)
class OnlinePPOConfig(ActorCriticConfig):
    """Hyperparameters of online PPO."""


class OnlinePPO(LanguageModelAgent):
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

    def train(
        self,
        collector: Collector,
        *,
        folder: Path | None = None,
        progress: ProgressCallback = no_progress,
    ) -> TrainingReport:
        """Learn from the collector's customers; see ``Agent.train``."""
        run = self.start_run(collector, folder)
        learner = ActorCritic(self.config, self.model, TOKENS)
        generator = torch.Generator().manual_seed(collector.seed)
        if run.state:
            learner.load_state(run.state["learner"])
            generator.set_state(run.state["generator"])

        while collector.remaining:
            episodes = collector.deploy(self.policy, self.config.next_deployment(collector))
            conversion = collector.curve[-1].conversion
            log = self.model.tokenise(episodes)
            metrics = learner.update(self.model.batches(log, self.config.minibatch), generator)

            conversations = collector.usage.conversations
            run.rows.append({"conversations": conversations, "conversion": conversion, **metrics})
            run.save({"learner": learner.state(), "generator": generator.get_state()})
            metrics = {"conversion": conversion, **metrics}
            progress(Progress("train", conversations, collector.budget, metrics))
        return run.report()
