"""Optimiser steps as all algorithms take them: AdamW, gradients clipped by their norm."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from convgym.agents.model.memory import AtOnce
from convgym.agents.training import parallel


class Optimiser:
    """AdamW with a largest gradient norm.

    Args:
        parameters: what is trained.
        learning_rate: at first; ``schedule`` changes it.
        max_gradient_norm: longer gradients are scaled down to it.
        weight_decay: decoupled, as in AdamW (Loshchilov & Hutter 2019, arXiv 1711.05101).
    """

    def __init__(
        self,
        parameters: Iterable[nn.Parameter],
        learning_rate: float,
        max_gradient_norm: float,
        weight_decay: float = 0.0,
    ) -> None:
        self._parameters = list(parameters)
        self._learning_rate, self._max_gradient_norm = learning_rate, max_gradient_norm
        self._at_once = AtOnce()
        self._adamw = torch.optim.AdamW(
            self._parameters, lr=learning_rate, weight_decay=weight_decay, fused=True
        )

    def step(self, loss: Tensor) -> None:
        """Take a step down the gradient of a loss."""
        self.zero_gradients()
        loss.backward()
        self.update()

    def step_over(self, n: int, loss_of: Callable[[slice], Tensor]) -> Tensor:
        """Take a step down a loss that is a sum over n conversations; return the loss.

        Where memory does not hold the gradient of all together, it is added up over parts.

        Args:
            n: of conversations.
            loss_of: the summands of a part.

        Raises:
            ConvgymError: when memory does not hold a single conversation.
        """
        (loss,) = self.add_up(n, lambda part: [loss_of(part)])
        self.update()
        return loss

    def add_up(self, n: int, terms_of: Callable[[slice], Sequence[Tensor]]) -> list[Tensor]:
        """Add up the gradient of a loss over n conversations, before an ``update``.

        Processes share the conversations (``training.parallel``), and each does its own in parts
        where memory does not hold all.

        Args:
            n: of conversations.
            terms_of: of a part, its summand of the loss, and whatever else is to be summed.

        Returns:
            The sums, without gradients.
        """
        share, weight = parallel.own_share(n)

        def learn(part: slice) -> list[Tensor]:
            terms = terms_of(slice(share.start + part.start, share.start + part.stop))
            (weight * terms[0]).backward()
            return [weight * term.detach() for term in terms]

        self.zero_gradients()
        parts = self._at_once.over(share.stop - share.start, learn, self.zero_gradients)
        self.share_gradients()
        return parallel.summed([torch.stack(terms).sum() for terms in zip(*parts, strict=True)])

    def share_gradients(self) -> None:
        """Add up the gradients of all processes, where there are several."""
        parallel.share_gradients(self._parameters)

    def zero_gradients(self) -> None:
        """Forget gradients, before those of a step are added up."""
        self._adamw.zero_grad()

    def update(self) -> None:
        """Take a step with the gradients that were added up."""
        nn.utils.clip_grad_norm_(self._parameters, self._max_gradient_norm)
        self._adamw.step()

    def schedule(self, factor: float) -> None:
        """Multiply the first learning rate by ``factor`` from here on."""
        for group in self._adamw.param_groups:
            group["lr"] = self._learning_rate * factor

    def state(self) -> dict[str, Any]:
        """Return what a run that goes on must know, as tensors and plain values."""
        return self._adamw.state_dict()

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on from what ``state`` returned."""
        self._adamw.load_state_dict(state)


def warmup_then_cosine(step: int, steps: int) -> float:
    """Return the learning rate at a step as a share of its peak."""
    warmup = max(1, round(0.05 * steps))
    if step < warmup:
        return (step + 1) / warmup
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))
