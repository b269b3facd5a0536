"""Fully online PPO: token-level actor-critic, a deployment for every update.

Schulman et al. 2017 (arXiv 1707.06347), on whole conversations: one row of tokens each, the
customer's tokens masked out, the outcome as the only reward, at the last response token.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from convgym.agents.model.batch import tokenise
from convgym.agents.model.logprobs import response_logprobs
from convgym.agents.model.lora import LoRA
from convgym.agents.model.weights import copied, load_trained_weights, trained_weights
from convgym.agents.protocol import TrainingReport
from convgym.agents.training import losses
from convgym.agents.training.base import LanguageModelAgent
from convgym.agents.training.minibatches import batches, shuffled
from convgym.agents.values.critic import Critic
from convgym.progress import Progress, ProgressCallback
from convgym.rollout import rollout
from convgym.seeds import train_seeds


@dataclass(frozen=True, slots=True)
class OnlinePPOConfig:
    """Hyperparameters of online PPO."""

    model: str = "default"
    temperature: float = 1.0
    max_new_tokens: int = 24
    briefing: str | None = None
    """System message of a chat model; None leaves it to the model's folder."""
    lora: LoRA | None = None
    """Adapters to train in place of the model's weights."""
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


class OnlinePPO(LanguageModelAgent):
    """The agent: see the module's text."""

    Config = OnlinePPOConfig
    config: OnlinePPOConfig

    def train(
        self,
        *,
        conversations: int,
        seed: int,
        environment: Mapping[str, Any] | None = None,
        folder: Path | None = None,
        report: ProgressCallback | None = None,
    ) -> TrainingReport:
        """Learn from at most ``conversations`` conversations; see ``Agent.train``."""
        config, policy = self.config, self.policy
        model, format = policy.model, policy.format
        run = self.start_run(conversations, seed, environment, folder)
        reference = copied(model)
        critic = Critic.from_language_model(model)
        actor_optimizer = torch.optim.AdamW(
            model.parameters(), lr=config.learning_rate, weight_decay=0.0, fused=True
        )
        critic_optimizer = torch.optim.AdamW(
            critic.parameters(), lr=config.critic_learning_rate, weight_decay=0.01, fused=True
        )
        generator = torch.Generator().manual_seed(seed)
        modules = {"model": model, "critic": critic}
        optimizers = {"actor_optimizer": actor_optimizer, "critic_optimizer": critic_optimizer}
        if run.state:
            for name, module in modules.items():
                load_trained_weights(module, run.state[name])
            for name, optimizer in optimizers.items():
                optimizer.load_state_dict(run.state[name])
            generator.set_state(run.state["generator"])
        seeds = train_seeds(seed, conversations)

        while run.conversations < conversations:
            # Deploy.
            episodes = rollout(
                policy,
                seeds[run.conversations : run.conversations + config.deployment],
                environment=environment,
                policy_seed=seed * 1_000_003 + run.deployments,
            )
            conversion = run.deployed(episodes)  # fails if every conversation did
            valid = [tokenise(episode, format) for episode in episodes if episode.valid]
            minibatches = batches(valid, config.minibatch, format.pad_id)

            # Advantages, normalised over the deployment.
            advantages, anchors = [], []
            with torch.inference_mode():
                for batch in minibatches:
                    advantages.append(
                        losses.gae(
                            losses.final_rewards(batch.outcomes, batch.response),
                            critic.values(batch.ids),
                            batch.turns,
                            gamma=config.gamma,
                            gae_lambda=config.gae_lambda,
                        )[batch.response]
                    )
                    anchors.append(response_logprobs(reference, format, batch, config.temperature))
            everything = torch.cat(advantages)
            mean, deviation = everything.mean(), everything.std(correction=0) + 1e-8

            # Improve.
            totals: dict[str, float] = {}
            for _ in range(config.epochs):
                for i in shuffled(len(minibatches), generator):
                    batch = minibatches[i]
                    old = batch.logprobs[batch.response]
                    logprobs = response_logprobs(model, format, batch, config.temperature)
                    surrogate = losses.clipped_surrogate(
                        logprobs, old, (advantages[i] - mean) / deviation, config.clip
                    ).mean()
                    kl = losses.k2(logprobs, anchors[i]).mean()
                    actor_optimizer.zero_grad()
                    (surrogate + config.kl_coefficient * kl).backward()
                    torch.nn.utils.clip_grad_norm_(model.parameters(), config.max_gradient_norm)
                    actor_optimizer.step()

                    returns = losses.discounted_outcomes(batch.outcomes, batch.turns, config.gamma)
                    # What the critic says after token t - 1 is the value of choosing token t.
                    logits = critic(batch.ids)[:, :-1][batch.response[:, 1:]]
                    outcomes = returns[batch.response]
                    value_loss = losses.outcome_loss(logits, outcomes).mean()
                    critic_optimizer.zero_grad()
                    value_loss.backward()
                    torch.nn.utils.clip_grad_norm_(critic.parameters(), config.max_gradient_norm)
                    critic_optimizer.step()
                    for name, value in (
                        ("kl_to_start", kl),
                        ("value_loss", value_loss),
                        ("clip_fraction", losses.clip_fraction(logprobs, old, config.clip)),
                    ):
                        share = float(value.detach()) / (config.epochs * len(minibatches))
                        totals[name] = totals.get(name, 0.0) + share

            # Log.
            run.rows.append(
                {"conversations": run.conversations, "conversion": conversion, **totals}
            )
            run.save(
                {
                    **{name: trained_weights(module) for name, module in modules.items()},
                    **{name: optimizer.state_dict() for name, optimizer in optimizers.items()},
                    "generator": generator.get_state(),
                }
            )
            if report:
                metrics = {"conversion": conversion, **totals}
                report(Progress("train", run.conversations, conversations, metrics))
        return run.report()
