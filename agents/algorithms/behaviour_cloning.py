"""Behaviour cloning, of all logged conversations or only of those that sold.

The offline baselines: the language model is fine-tuned on the seller's words in a log. The log is
the user's, or the whole budget is spent on one that the mediocre scripted seller writes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import torch

from convgym.agents.model.batch import TokenisedEpisode
from convgym.agents.model.config import PolicyConfig
from convgym.agents.model.minibatches import shuffled
from convgym.agents.protocol import TrainingReport
from convgym.agents.training.base import LanguageModelAgent
from convgym.agents.training.collector import Collector
from convgym.agents.training.imitation import imitation_step
from convgym.agents.training.optim import Optimiser
from convgym.checks import check_fields
from convgym.progress import Progress, ProgressCallback, no_progress
from convgym.sellers import make_seller
from convgym.shop.catalog import Catalog


@dataclass(frozen=True, slots=True)
class BehaviourCloningConfig:
    """Hyperparameters of behaviour cloning."""

    policy: PolicyConfig = field(default_factory=PolicyConfig)
    filter_converted: bool = False
    """Imitate only the conversations that ended in a purchase."""
    epsilon: float = 0.1
    """Share of random acts of the mediocre seller that writes the log."""
    epochs: int = 1
    minibatch: int = 32
    """Conversations per optimiser step."""
    learning_rate: float = 3e-4
    max_gradient_norm: float = 1.0

    def __post_init__(self) -> None:
        check_fields(
            self,
            counts=("minibatch",),
            counts_from_zero=("epochs",),
            bounds=("max_gradient_norm",),
            from_zero=("learning_rate",),
            shares=("epsilon",),
        )


class BehaviourCloning(LanguageModelAgent):
    """Behaviour cloning: maximum likelihood of what a seller said, in a log.

    Over the response tokens t of the log, or with ``filter_converted`` of its conversations that
    ended in a purchase (filtered cloning, %BC)::

        minimise  - E_t log pi(token_t | conversation so far)

    Needs a log alone (``Collector(log=...)``), of any seller; without one, the mediocre scripted
    seller writes one with the whole budget. Where nothing in a log is worth imitating, the policy
    stays what it was, and the report's notes say so.

    Raises:
        ConvgymError: when the model that ``config.policy`` names cannot be loaded.
    """

    Config = BehaviourCloningConfig
    config: BehaviourCloningConfig

    def train(
        self,
        collector: Collector,
        *,
        folder: Path | None = None,
        progress: ProgressCallback = no_progress,
    ) -> TrainingReport:
        """Learn from the collector's log; see ``Agent.train``."""
        config, model = self.config, self.model
        run = self.start_run(collector, folder)
        optimiser = Optimiser(
            model.network.parameters(), config.learning_rate, config.max_gradient_norm
        )
        generator = torch.Generator().manual_seed(collector.seed)
        if run.state:
            model.load_weights(run.state["model"])
            optimiser.load_state(run.state["optimiser"])
            generator.set_state(run.state["generator"])
        log = self.collect(collector, progress)

        batches = model.batches(log, config.minibatch)
        total = config.epochs * len(batches)
        for epoch in range(len(run.rows), config.epochs if batches else 0):
            loss_sum = 0.0
            for number, i in enumerate(shuffled(len(batches), generator), start=1):
                loss = imitation_step(model, batches[i], optimiser)
                loss_sum += loss
                done = epoch * len(batches) + number
                progress(Progress("imitate", done, total, {"loss": loss}))
            run.rows.append({"epoch": epoch + 1, "loss": loss_sum / len(batches)})
            run.save(
                {
                    "model": model.weights(),
                    "optimiser": optimiser.state(),
                    "generator": generator.get_state(),
                }
            )
        return run.report(notes=() if batches else (_nothing(collector),))

    def collect(self, collector: Collector, progress: ProgressCallback) -> list[TokenisedEpisode]:
        """Return the log's conversations that are to be imitated, as tokens."""
        shop: str | Path | Catalog = collector.environment.get("catalog") or "laptops"
        seller = make_seller("mediocre", shop, epsilon=self.config.epsilon)
        episodes = collector.logged(seller, progress=progress)
        return self.model.tokenise(
            [
                episode
                for episode in episodes
                if episode.converted or not self.config.filter_converted
            ]
        )


def _nothing(collector: Collector) -> str:
    return (
        f"none of {collector.usage.conversations} logged conversations is worth imitating, so the "
        "policy stayed what it was: use a larger budget or another log"
    )
