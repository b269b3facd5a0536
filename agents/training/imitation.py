"""Imitation: maximum likelihood of what was said in some conversations, a few passes long."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from convgym.agents.model.batch import Batch, TokenisedEpisode
from convgym.agents.model.language_model import LanguageModel
from convgym.agents.model.minibatches import neighbours, shuffled
from convgym.agents.training.optim import Optimiser
from convgym.checks import check_fields
from convgym.progress import Progress, ProgressCallback, no_progress

Weights = Sequence[Sequence[float]]
"""What the tokens of every response of every conversation count."""

KEEP_SECONDS = 120.0
"""How much of an imitation an interruption may cost, at most."""


@dataclass(frozen=True, slots=True)
class Imitation:
    """How conversations are imitated: by maximum likelihood.

    Over their response tokens t, each with a weight w_t of 1 unless others are given::

        minimise  - E_t w_t log pi(token_t | conversation so far)

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
        weights: Weights | None = None,
        generator: torch.Generator,
        progress: ProgressCallback = no_progress,
    ) -> float | None:
        """Have the model imitate conversations, in place; None where nothing is learned.

        Every call has an optimiser of its own: the moments of the last one belong to other
        conversations.

        Args:
            model: who learns.
            conversations: whose responses are imitated.
            weights: what the tokens of every response of every conversation count; None counts
                each once.
            generator: order of the minibatches.
            progress: told after every step, as stage "imitate".

        Returns:
            The last pass's mean loss, nats a token, weighted as the tokens are.
        """
        imitator = Imitator(model, conversations, self, generator, weights)
        imitator.learn(progress)
        return imitator.losses[-1] if imitator.losses else None


def _keep_nothing() -> None:
    pass


class Imitator:
    """An imitation under way: where it stands can be kept, and it goes on from there to the bit.

    Args:
        model: who learns.
        conversations: whose responses are imitated.
        settings: how.
        generator: order of the minibatches.
        weights: see ``Imitation.imitate``.

    Attributes:
        losses: mean loss of every whole pass, nats a token.
    """

    def __init__(
        self,
        model: LanguageModel,
        conversations: Sequence[TokenisedEpisode],
        settings: Imitation,
        generator: torch.Generator,
        weights: Weights | None = None,
    ) -> None:
        self._model, self._settings, self._generator = model, settings, generator
        parts = neighbours(conversations, settings.minibatch)
        self._batches = [model.collate([conversations[i] for i in part]) for part in parts]
        self._counts = (
            None
            if weights is None
            else [
                torch.tensor(
                    [
                        weights[place][turn]
                        for place in part
                        for turn in conversations[place].turns
                        if turn >= 0
                    ],
                    device=model.device,
                )
                for part in parts
            ]
        )
        self._optimiser = Optimiser(
            model.trained_parameters(), settings.learning_rate, settings.max_gradient_norm
        )
        self.losses: list[float] = []
        self._begin_pass()

    def _begin_pass(self) -> None:
        self._before = self._generator.get_state()
        self._steps, self._loss_sum = 0, 0.0  # of the present pass

    def learn(
        self, progress: ProgressCallback = no_progress, keep: Callable[[], None] = _keep_nothing
    ) -> None:
        """Take all steps that are left.

        Args:
            progress: told after every step, as stage "imitate".
            keep: called after every pass, and within one every ``KEEP_SECONDS``.
        """
        size = len(self._batches)
        kept = time.monotonic()
        while size and len(self.losses) < self._settings.epochs:
            for i in shuffled(size, self._generator)[self._steps :]:
                self._step(i, progress)
                if self._steps < size and time.monotonic() - kept >= KEEP_SECONDS:
                    keep()
                    kept = time.monotonic()
            self.losses.append(self._loss_sum / size)
            self._begin_pass()
            keep()
            kept = time.monotonic()

    def _step(self, number: int, progress: ProgressCallback) -> None:
        done = len(self.losses) * len(self._batches) + self._steps
        total = self._settings.epochs * len(self._batches)
        if self._settings.linear_decay:
            self._optimiser.schedule(1 - done / total)
        counts = None if self._counts is None else self._counts[number]
        loss = imitation_step(self._model, self._batches[number], self._optimiser, counts)
        self._loss_sum += loss
        self._steps += 1
        progress(Progress("imitate", done + 1, total, {"loss": loss}))

    def state(self) -> dict[str, Any]:
        """Return where it stands, as tensors and plain values: what of the model is trained, too.

        Random numbers are those at the beginning of the present pass.
        """
        return {
            "model": self._model.weights(),
            "optimiser": self._optimiser.state(),
            "generator": self._before,
            "losses": list(self.losses),
            "steps": self._steps,
            "loss_sum": self._loss_sum,
        }

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Go on from what ``state`` returned, with the same conversations and settings."""
        self._model.load_weights(state["model"])
        self._optimiser.load_state(state["optimiser"])
        self._generator.set_state(state["generator"])
        self.losses = list(state["losses"])
        self._begin_pass()
        self._steps, self._loss_sum = state["steps"], state["loss_sum"]


def imitation_step(
    model: LanguageModel, batch: Batch, optimiser: Optimiser, counts: Tensor | None = None
) -> float:
    """Take a step down a minibatch's mean loss; return it, nats a token.

    Args:
        model: who learns.
        batch: whose N response tokens are imitated.
        optimiser: of the model.
        counts: (N,) what each of them counts; None counts each once.

    Raises:
        ConvgymError: when memory does not hold a single conversation.
    """
    tokens = int(batch.response.sum())

    def loss_of(rows: slice) -> Tensor:
        logprobs = model.logprobs(batch.part(rows))
        if counts is not None:
            logprobs = counts[batch.tokens(rows)] * logprobs
        return -logprobs.sum() / tokens

    return optimiser.step_over(len(batch), loss_of).item()
