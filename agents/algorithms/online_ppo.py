"""Fully online PPO: token-level actor-critic, a deployment for every update.

Schulman et al. 2017 (arXiv 1707.06347), on whole conversations: one row of tokens each, the
customer's tokens masked out, the outcome as the only reward, at the last response token.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from convgym.agents.model.batch import Batch
from convgym.agents.model.config import PolicyConfig
from convgym.agents.model.language_model import LanguageModel
from convgym.agents.model.minibatches import shuffled
from convgym.agents.model.weights import load_trained_weights, trained_weights
from convgym.agents.protocol import TrainingReport
from convgym.agents.training import losses
from convgym.agents.training.base import LanguageModelAgent
from convgym.agents.training.collector import Collector
from convgym.agents.training.optim import Optimiser
from convgym.agents.values.critic import Critic
from convgym.checks import check_fields
from convgym.progress import Progress, ProgressCallback, no_progress


@dataclass(frozen=True, slots=True)
class OnlinePPOConfig:
    """Hyperparameters of online PPO."""

    policy: PolicyConfig = field(default_factory=PolicyConfig)
    deployment: int = 256
    """Conversations per update."""
    minibatch: int = 32
    """Conversations per optimiser step."""
    epochs: int = 2
    learning_rate: float = 3e-4
    critic_learning_rate: float = 1e-3
    clip: float = 0.2
    kl_coefficient: float = 0.002
    """Weight per token of the KL divergence to the starting policy, by the estimator k2."""
    gamma: float = 1.0
    """Discount per turn."""
    gae_lambda: float = 0.9
    """Trace decay per turn; within a response it is 1."""
    max_gradient_norm: float = 1.0

    def __post_init__(self) -> None:
        check_fields(
            self,
            counts=("deployment", "minibatch"),
            counts_from_zero=("epochs",),
            positive=("clip",),
            bounds=("max_gradient_norm",),
            from_zero=("learning_rate", "critic_learning_rate", "kl_coefficient"),
            shares=("gamma", "gae_lambda"),
        )


class OnlinePPO(LanguageModelAgent):
    """Fully online PPO (Schulman et al. 2017, arXiv 1707.06347) on whole conversations.

    After every deployment of ``config.deployment`` conversations, with the ratio rho_t of the new
    and the old probability of response token t, and generalised advantages A_t (arXiv 1506.02438)
    of a critic that is a copy of the model with a scalar head::

        maximise  E_t min(rho_t A_t, clip(rho_t, 1 - clip, 1 + clip) A_t)
                  - kl_coefficient * E_t (log pi_t - log pi_start_t)^2 / 2

    The reward is the outcome, at the last response token. Within a response no value is
    discounted; from turn to turn ``gamma`` and ``gae_lambda`` hold.

    Needs customers for every update. ``learning_rate``, ``deployment`` and ``kl_coefficient``
    matter most.

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
        learner = _Learner(self.config, self.model)
        generator = torch.Generator().manual_seed(collector.seed)
        if run.state:
            learner.load_state(run.state["learner"])
            generator.set_state(run.state["generator"])

        while collector.remaining:
            episodes = collector.deploy(self.policy, self.config.deployment)
            conversion = collector.curve[-1].conversion
            log = self.model.tokenise(episodes)
            metrics = learner.update(self.model.batches(log, self.config.minibatch), generator)

            conversations = collector.usage.conversations
            run.rows.append({"conversations": conversations, "conversion": conversion, **metrics})
            run.save({"learner": learner.state(), "generator": generator.get_state()})
            metrics = {"conversion": conversion, **metrics}
            progress(Progress("train", conversations, collector.budget, metrics))
        return run.report()


class _Learner:
    """Actor, critic, and one update of both from the conversations of a deployment."""

    def __init__(self, config: OnlinePPOConfig, actor: LanguageModel) -> None:
        self.config, self.actor = config, actor
        self.reference = actor.copy()
        self.critic = Critic.from_language_model(actor)
        self.actor_optimiser = Optimiser(
            actor.network.parameters(), config.learning_rate, config.max_gradient_norm
        )
        self.critic_optimiser = Optimiser(
            self.critic.parameters(),
            config.critic_learning_rate,
            config.max_gradient_norm,
            weight_decay=0.01,
        )

    def update(self, batches: Sequence[Batch], generator: torch.Generator) -> dict[str, float]:
        """Take ``epochs`` passes over a deployment, the minibatches in random order."""
        advantages = self.advantages(batches)
        with torch.inference_mode():
            anchors = [self.reference.logprobs(batch) for batch in batches]
        totals: dict[str, float] = {}
        for _ in range(self.config.epochs):
            for i in shuffled(len(batches), generator):
                batch = batches[i]
                metrics = self._actor_step(batch, advantages[i], anchors[i])
                metrics["value_loss"] = self._critic_step(batch)
                for name in ("kl_to_start", "value_loss", "clip_fraction"):
                    share = float(metrics[name]) / (self.config.epochs * len(batches))
                    totals[name] = totals.get(name, 0.0) + share
        return totals

    def advantages(self, batches: Sequence[Batch]) -> list[Tensor]:
        """Return the advantage (N,) of every batch's response tokens, normalised over all."""
        with torch.inference_mode():
            advantages = [
                losses.gae(
                    losses.final_rewards(batch.outcomes, batch.response),
                    self.critic.values(batch.ids),
                    batch.turns,
                    gamma=self.config.gamma,
                    gae_lambda=self.config.gae_lambda,
                )[batch.response]
                for batch in batches
            ]
        return losses.normalised(advantages)

    def _actor_step(self, batch: Batch, advantages: Tensor, anchor: Tensor) -> dict[str, Tensor]:
        clip = self.config.clip
        old = batch.logprobs[batch.response]
        logprobs = self.actor.logprobs(batch)
        surrogate = losses.clipped_surrogate(logprobs, old, advantages, clip).mean()
        kl = losses.k2(logprobs, anchor).mean()
        self.actor_optimiser.step(surrogate + self.config.kl_coefficient * kl)
        clipped = losses.clip_fraction(logprobs, old, clip)
        return {"kl_to_start": kl.detach(), "clip_fraction": clipped.detach()}

    def _critic_step(self, batch: Batch) -> Tensor:
        returns = losses.discounted_outcomes(batch.outcomes, batch.turns, self.config.gamma)
        # What the critic says after token t - 1 is the value of choosing token t.
        logits = self.critic(batch.ids)[:, :-1][batch.response[:, 1:]]
        loss = losses.outcome_loss(logits, returns[batch.response]).mean()
        self.critic_optimiser.step(loss)
        return loss.detach()

    def state(self) -> dict[str, Any]:
        return {
            "actor": self.actor.weights(),
            "critic": trained_weights(self.critic),
            "actor_optimiser": self.actor_optimiser.state(),
            "critic_optimiser": self.critic_optimiser.state(),
        }

    def load_state(self, state: dict[str, Any]) -> None:
        self.actor.load_weights(state["actor"])
        load_trained_weights(self.critic, state["critic"])
        self.actor_optimiser.load_state(state["actor_optimiser"])
        self.critic_optimiser.load_state(state["critic_optimiser"])
