"""Behaviour cloning, of all logged conversations or only of those that sold.

The offline baselines: the budget is spent on one log, written by the mediocre scripted seller;
the language model is then fine-tuned on the seller's words in it.
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
from convgym.agents.model.weights import load_trained_weights, trained_weights
from convgym.agents.protocol import TrainingReport
from convgym.agents.training.base import LanguageModelAgent
from convgym.agents.training.minibatches import batches, shuffled
from convgym.errors import ConvgymError
from convgym.progress import Progress, ProgressCallback
from convgym.rollout import rollout
from convgym.seeds import train_seeds
from convgym.sellers import make_seller


@dataclass(frozen=True, slots=True)
class BehaviourCloningConfig:
    """Hyperparameters of behaviour cloning."""

    model: str = "default"
    temperature: float = 1.0
    max_new_tokens: int = 24
    briefing: str | None = None
    """System message of a chat model; None leaves it to the model's folder."""
    lora: LoRA | None = None
    """Adapters to train in place of the model's weights."""
    filter_converted: bool = False
    """Imitate only the conversations that ended in a purchase."""
    epsilon: float = 0.1
    """Share of random acts of the mediocre seller that writes the log."""
    epochs: int = 1
    minibatch: int = 32
    """Conversations per optimiser step."""
    learning_rate: float = 3e-4
    """At the start; falls linearly to 0."""
    max_gradient_norm: float = 1.0


class BehaviourCloning(LanguageModelAgent):
    """The agent: see the module's text."""

    Config = BehaviourCloningConfig
    config: BehaviourCloningConfig

    def train(
        self,
        *,
        conversations: int,
        seed: int,
        environment: Mapping[str, Any] | None = None,
        folder: Path | None = None,
        report: ProgressCallback | None = None,
    ) -> TrainingReport:
        """Learn from a log of ``conversations`` conversations; see ``Agent.train``."""

        def tell(stage: str, done: int, total: int, metrics: Mapping[str, float]) -> None:
            if report:
                report(Progress(stage, done, total, metrics))

        config, policy = self.config, self.policy
        model, format = policy.model, policy.format
        run = self.start_run(conversations, seed, environment, folder)
        optimizer = torch.optim.AdamW(
            model.parameters(), lr=config.learning_rate, weight_decay=0.0, fused=True
        )
        generator = torch.Generator().manual_seed(seed)

        def checkpoint() -> None:
            run.save(
                {
                    "episodes": episodes,
                    "model": trained_weights(model),
                    "optimizer": optimizer.state_dict(),
                    "generator": generator.get_state(),
                }
            )

        if run.state:
            episodes = run.state["episodes"]
            load_trained_weights(model, run.state["model"])
            optimizer.load_state_dict(run.state["optimizer"])
            generator.set_state(run.state["generator"])
        else:
            episodes = rollout(
                make_seller(
                    "mediocre",
                    (environment or {}).get("catalog") or "laptops",
                    epsilon=config.epsilon,
                ),
                train_seeds(seed, conversations),
                environment=environment,
                policy_seed=seed,
                progress=lambda news: tell("collect", news.done, conversations, {}),
            )
            run.deployed(episodes)
            checkpoint()
        chosen = [
            tokenise(episode, format)
            for episode in episodes
            if episode.valid and (episode.converted or not config.filter_converted)
        ]
        if not chosen:
            raise ConvgymError(
                f"none of {conversations} logged conversations is worth imitating: "
                "use a larger budget"
            )
        minibatches = batches(chosen, config.minibatch, format.pad_id)
        total = config.epochs * len(minibatches)
        for epoch in range(len(run.rows), config.epochs):
            loss_sum = 0.0
            for number, i in enumerate(shuffled(len(minibatches), generator), start=1):
                loss = -response_logprobs(model, format, minibatches[i], config.temperature).mean()
                optimizer.zero_grad()
                loss.backward()
                torch.nn.utils.clip_grad_norm_(model.parameters(), config.max_gradient_norm)
                optimizer.step()
                loss_sum += loss.item()
                tell("imitate", epoch * len(minibatches) + number, total, {"loss": loss.item()})
            run.rows.append({"epoch": epoch + 1, "loss": loss_sum / len(minibatches)})
            checkpoint()
        return run.report()
