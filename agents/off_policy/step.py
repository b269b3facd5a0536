"""The step from a policy to a better one by its log and its fitted Q, and whether to take it.

Steps 3 and 4 of Iterative PPO (arXiv 2511.21638): no customer is met in them.
"""

from __future__ import annotations

from functools import partial
from typing import Protocol

import torch

from convgym.agents.improvement.problem import (
    Improvement,
    PolicyWatch,
    SingleTurnProblem,
    watch_nothing,
)
from convgym.agents.model.language_model import LanguageModel
from convgym.agents.off_policy.gate import Gain, GateConfig, predicted_gain
from convgym.agents.training.imitation import Imitation
from convgym.agents.values.fitted import FittedQ
from convgym.agents.values.fitting import corrected_advantages
from convgym.progress import ProgressCallback, no_progress

_KL_SAMPLE = 128
"""Conversations on which a step's divergence is measured."""


class StepConfig(Protocol):
    """What a step is made with."""

    @property
    def imitation(self) -> Imitation:
        """Of the sold conversations, before the improvement step."""

    @property
    def improvement(self) -> Improvement:
        """The solver of the single-turn problem."""


def improve(
    model: LanguageModel,
    fitted: FittedQ,
    config: StepConfig,
    generator: torch.Generator,
    progress: ProgressCallback = no_progress,
    watch: PolicyWatch = watch_nothing,
) -> tuple[LanguageModel, dict[str, float]]:
    """Improve pi_k by what was sold and at the states that were met, the gate's share left out.

    Returns the new model and metrics, among them ``kl``, its divergence from pi_k.
    """
    log, estimates = fitted.log[fitted.held_out :], fitted.estimates[fitted.held_out :]
    problem = SingleTurnProblem(
        log,
        partial(fitted.ensemble.score, generator=generator),
        [corrected_advantages(*both) for both in zip(log, estimates, strict=True)],
    )
    imitator = model.copy()
    sold = [episode for episode in log if episode.outcome > 0]
    loss = config.imitation.imitate(imitator, sold, generator=generator, progress=progress)
    improved, metrics = config.improvement.improve(
        imitator, problem, generator=generator, progress=progress, watch=watch
    )
    if loss is not None:
        metrics["imitation_loss"] = loss
    metrics["kl"] = improved.divergence(model, log[:_KL_SAMPLE])
    return improved, metrics


def gate(
    improved: LanguageModel, model: LanguageModel, fitted: FittedQ, config: GateConfig
) -> Gain:
    """Estimate what the new policy gains on the conversations that nothing learned from."""
    n = fitted.held_out
    return predicted_gain(improved, model, fitted.log[:n], fitted.estimates[:n], config.max_ratio)
