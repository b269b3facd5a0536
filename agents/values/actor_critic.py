"""PPO's actor and critic on whole conversations, whatever its steps are: tokens or turns."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from convgym.agents.model.batch import Batch, first_tokens
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
class ActorCriticConfig:
    """Hyperparameters of PPO with a deployment for every update."""

    policy: PolicyConfig = field(default_factory=PolicyConfig)
    deployment: int = 256
    """Conversations per update, where ``rounds`` does not say how many updates there are."""
    rounds: int | None = None
    """Deployments, among which the budget is split evenly; each is followed by an update."""
    minibatch: int = 32
    """Conversations per optimiser step."""
    epochs: int = 2
    """Passes over a deployment."""
    learning_rate: float = 3e-4
    critic_learning_rate: float = 1e-3
    clip: float = 0.2
    kl_coefficient: float = 0.002
    """Weight per token of the KL divergence to the starting policy, by the estimator k2."""
    target_kl: float = math.inf
    """The policy's passes end before a step whose minibatch shows a larger divergence from the
    deployed policy, in nats per response; the critic's go on."""
    gamma: float = 1.0
    """Discount per turn."""
    gae_lambda: float = 0.9
    """Trace decay per turn; within a response it is 1."""
    max_gradient_norm: float = 1.0

    def __post_init__(self) -> None:
        rounds = () if self.rounds is None else ("rounds",)
        check_fields(
            self,
            counts=("deployment", "minibatch", *rounds),
            counts_from_zero=("epochs",),
            positive=("clip",),
            bounds=("max_gradient_norm", "target_kl"),
            from_zero=("learning_rate", "critic_learning_rate", "kl_coefficient"),
            shares=("gamma", "gae_lambda"),
        )

    def next_deployment(self, collector: Collector) -> int:
        """Return how many conversations come next."""
        return self.deployment if self.rounds is None else collector.share(self.rounds)


@dataclass(frozen=True, slots=True)
class Steps:
    """What a step of the decision process is, to the critic."""

    states: Callable[[Batch], Tensor]
    """Where (B, T) the critic learns: at tokens whose state opens a step."""
    values: Callable[[Tensor, Tensor], Tensor]
    """From the values (B, T) of the states in which tokens were chosen, and the tokens' turns
    (B, T), to the values (B, T) from which advantages are made."""


TOKENS = Steps(states=lambda batch: batch.response, values=lambda values, turns: values)
"""A step is a token; every one's state has a value of its own."""

TURNS = Steps(states=first_tokens, values=losses.over_turns)
"""A step is a turn; its tokens have the value of the state that it begins in."""


class ActorCritic:
    """Actor, critic, and one update of both from the conversations of a deployment.

    Args:
        config: how they learn.
        actor: the policy; trained in place. As it is now it is the start, to which a KL penalty
            holds it.
        steps: what a step is.
    """

    def __init__(self, config: ActorCriticConfig, actor: LanguageModel, steps: Steps) -> None:
        self.config, self.actor, self.steps = config, actor, steps
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
        sums: dict[str, float] = {}
        steps, acting = self.config.epochs * len(batches), 0
        stays = True
        for _ in range(self.config.epochs):
            for i in shuffled(len(batches), generator):
                metrics = {"value_loss": self._critic_step(batches[i])}
                if stays:
                    stays, of_actor = self._actor_step(batches[i], advantages[i], anchors[i])
                    metrics |= of_actor
                    acting += 1
                for name, value in metrics.items():
                    sums[name] = sums.get(name, 0.0) + float(value)
        return {
            name: total / (steps if name == "value_loss" else acting)
            for name, total in sums.items()
        }

    def advantages(self, batches: Sequence[Batch]) -> list[Tensor]:
        """Return the advantage (N,) of every batch's response tokens, normalised over all."""
        with torch.inference_mode():
            advantages = [
                losses.gae(
                    losses.final_rewards(batch.outcomes, batch.response),
                    self.steps.values(self.critic.values(batch.ids), batch.turns),
                    batch.turns,
                    gamma=self.config.gamma,
                    gae_lambda=self.config.gae_lambda,
                )[batch.response]
                for batch in batches
            ]
        return losses.normalised(advantages)

    def _actor_step(
        self, batch: Batch, advantages: Tensor, anchor: Tensor
    ) -> tuple[bool, dict[str, Tensor]]:
        """Take a step unless the policy is too far from the deployed one; return whether it did."""
        config, n, turns = self.config, len(advantages), first_tokens(batch).sum()

        def terms_of(rows: slice) -> list[Tensor]:
            part, own = batch.part(rows), batch.tokens(rows)
            old = part.logprobs[part.response]
            logprobs = self.actor.logprobs(part)
            kl = losses.k2(logprobs, anchor[own]).sum() / n
            surrogate = losses.clipped_surrogate(logprobs, old, advantages[own], config.clip)
            moved = losses.k3(old, logprobs.detach()).sum() / turns
            clipped = losses.clip_fraction(logprobs.detach(), old, config.clip) * (len(old) / n)
            return [surrogate.sum() / n + config.kl_coefficient * kl, kl, moved, clipped]

        _, kl, moved, clipped = self.actor_optimiser.add_up(len(batch), terms_of)
        stays = float(moved) <= config.target_kl
        if stays:
            self.actor_optimiser.update()
        return stays, {"kl_to_start": kl, "kl_to_deployed": moved, "clip_fraction": clipped}

    def _critic_step(self, batch: Batch) -> Tensor:
        returns = losses.discounted_outcomes(batch.outcomes, batch.turns, self.config.gamma)
        states = self.steps.states(batch)
        n = states.sum()

        def loss_of(rows: slice) -> Tensor:
            part = batch.part(rows)
            here = self.steps.states(part)
            # What the critic says after token t - 1 is the value of choosing token t.
            logits = self.critic(part.ids)[:, :-1][here[:, 1:]]
            worth = returns[rows, : here.shape[1]][here]
            return losses.outcome_loss(logits, worth).sum() / n

        return self.critic_optimiser.step_over(len(batch), loss_of)

    def state(self) -> dict[str, Any]:
        """Return what a run that goes on must know, as tensors and plain values."""
        return {
            "actor": self.actor.weights(),
            "critic": trained_weights(self.critic),
            "actor_optimiser": self.actor_optimiser.state(),
            "critic_optimiser": self.critic_optimiser.state(),
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on from what ``state`` returned."""
        self.actor.load_weights(state["actor"])
        load_trained_weights(self.critic, state["critic"])
        self.actor_optimiser.load_state(state["actor_optimiser"])
        self.critic_optimiser.load_state(state["critic_optimiser"])


class ActorCriticAgent(LanguageModelAgent):
    """What PPO agents have in common: after every deployment an update, over whatever steps.

    Attributes:
        steps: of the decision process, to the critic.
    """

    config: ActorCriticConfig
    steps: ClassVar[Steps]

    def train(
        self,
        collector: Collector,
        *,
        folder: Path | None = None,
        progress: ProgressCallback = no_progress,
    ) -> TrainingReport:
        """Learn from the collector's customers; see ``Agent.train``."""
        run = self.start_run(collector, folder)
        learner = ActorCritic(self.config, self.model, self.steps)
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
