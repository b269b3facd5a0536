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
from convgym.agents.protocol import TrainingReport
from convgym.agents.training.base import LanguageModelAgent
from convgym.agents.training.collector import Collector
from convgym.agents.training.imitation import Imitation, Imitator
from convgym.agents.training.logged import read_or_write_log
from convgym.checks import check_fields
from convgym.progress import ProgressCallback, no_progress


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
    linear_decay: bool = False
    """Whether the learning rate falls linearly to 0 over all passes."""
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
    stays what it was, and the report's notes say so. A run that was interrupted goes on from its
    last checkpoint, which is two minutes old at most, to the bit.

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
        run = self.start_run(collector, folder)
        log = self.collect(collector, progress)
        generator = torch.Generator().manual_seed(collector.seed)
        imitator = Imitator(self.model, log, self._imitation(), generator)
        if run.state:
            imitator.load_state(run.state)

        def keep() -> None:
            rows = enumerate(imitator.losses, start=1)
            run.rows[:] = [{"epoch": epoch, "loss": loss} for epoch, loss in rows]
            run.save(imitator.state())

        imitator.learn(progress, keep)
        return run.report(notes=() if log else (_nothing(collector),))

    def _imitation(self) -> Imitation:
        config = self.config
        return Imitation(
            epochs=config.epochs,
            minibatch=config.minibatch,
            learning_rate=config.learning_rate,
            linear_decay=config.linear_decay,
            max_gradient_norm=config.max_gradient_norm,
        )

    def collect(self, collector: Collector, progress: ProgressCallback) -> list[TokenisedEpisode]:
        """Return the log's conversations that are to be imitated, as tokens."""
        episodes = read_or_write_log(collector, self.config.epsilon, progress)
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
