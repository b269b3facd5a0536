"""Imitation: maximum likelihood of what was said in some conversations, a few passes long."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from convgym.agents.model.batch import Batch, TokenisedEpisode
from convgym.agents.model.language_model import LanguageModel
from convgym.agents.model.minibatches import shuffled
from convgym.agents.training.optim import Optimiser
from convgym.checks import check_fields
from convgym.progress import Progress, ProgressCallback, no_progress


@dataclass(frozen=True, slots=True)
class Imitation:
    """How conversations are imitated: by maximum likelihood.

    Over their response tokens t::

        minimise  - E_t log pi(token_t | conversation so far)

    Given the conversations that ended in a purchase, this is filtered behaviour cloning, and a
    step of expert iteration where the policy itself held them.
    """

    epochs: int = 2
    """Passes over the conversations; 0 imitates nothing."""
    minibatch: int = 32
    """Conversations per optimiser step."""
    learning_rate: float = 3e-4
    linear_decay: bool = True
    """Whether the learning rate falls linearly to 0 over all passes."""
    max_gradient_norm: float = 1.0

    def __post_init__(self) -> None:
        check_fields(
            self,
            counts=("minibatch",),
            counts_from_zero=("epochs",),
            bounds=("max_gradient_norm",),
            from_zero=("learning_rate",),
        )

    def imitate(
        self,
        model: LanguageModel,
        conversations: Sequence[TokenisedEpisode],
        *,
        generator: torch.Generator,
        progress: ProgressCallback = no_progress,
    ) -> float | None:
        """Have the model imitate conversations, in place; None where nothing is learned.

        Every call has an optimiser of its own: the moments of the last one belong to other
        conversations.

        Args:
            model: who learns.
            conversations: whose responses are imitated.
            generator: order of the minibatches.
            progress: told after every step, as stage "imitate".

        Returns:
            The last pass's mean loss, nats a token.
        """
        batches = model.batches(conversations, self.minibatch)
        total, done, mean = self.epochs * len(batches), 0, None
        optimiser = Optimiser(
            model.trained_parameters(), self.learning_rate, self.max_gradient_norm
        )
        for _ in range(self.epochs if batches else 0):
            loss_sum = 0.0
            for i in shuffled(len(batches), generator):
                if self.linear_decay:
                    optimiser.schedule(1 - done / total)
                loss = imitation_step(model, batches[i], optimiser)
                loss_sum += loss
                done += 1
                progress(Progress("imitate", done, total, {"loss": loss}))
            mean = loss_sum / len(batches)
        return mean


def imitation_step(model: LanguageModel, batch: Batch, optimiser: Optimiser) -> float:
    """Take a step down a minibatch's mean loss; return it, nats a token.

    Raises:
        ConvgymError: when memory does not hold a single conversation.
    """
    tokens = int(batch.response.sum())

    def loss_of(rows: slice) -> Tensor:
        return -model.logprobs(batch.part(rows)).sum() / tokens

    return optimiser.step_over(len(batch), loss_of).item()
