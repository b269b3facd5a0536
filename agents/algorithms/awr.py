"""Advantage-weighted regression: imitation that listens to what came of it (arXiv 1910.00177).

Two regressions on a log, and no customer in between:

1. V(s), the mean outcome after a state, is fitted to the log's Monte Carlo returns: the value head
   of a Q-function (``values.q_function``) that imagines nothing. The log is cross-fitted: how a
   conversation ended is judged by a member that has not seen it;
2. the policy imitates every response of the log, weighted by what it gained over V.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch

from convgym.agents.model.config import PolicyConfig
from convgym.agents.protocol import TrainingReport
from convgym.agents.training.base import LanguageModelAgent
from convgym.agents.training.collector import Collector
from convgym.agents.training.imitation import Imitation
from convgym.agents.training.logged import read_or_write_log, refuse_one_sided
from convgym.agents.values.fitted import fit_q
from convgym.agents.values.q_function import QEnsemble, QFunctionConfig
from convgym.checks import check_fields
from convgym.progress import ProgressCallback, no_progress


@dataclass(frozen=True, slots=True)
class AWRConfig:
    """Hyperparameters of advantage-weighted regression; ``beta`` and ``imitation`` matter most."""

    policy: PolicyConfig = field(default_factory=PolicyConfig)
    epsilon: float = 0.1
    """Share of random acts of the mediocre seller that writes the log, where none is given."""
    q_function: QFunctionConfig = field(
        default_factory=lambda: QFunctionConfig(imagined=0.0, folds=2)
    )
    """How V is fitted."""
    beta: float = 0.3
    """Temperature of the weights: the smaller, the more the best responses alone are imitated."""
    max_weight: float = 20.0
    """No response counts more than this."""
    imitation: Imitation = field(default_factory=lambda: Imitation(epochs=3))

    def __post_init__(self) -> None:
        check_fields(self, shares=("epsilon",), positive=("beta",), bounds=("max_weight",))


class AWR(LanguageModelAgent):
    """Advantage-weighted regression (arXiv 1910.00177, Algorithm 1), one iteration on a log.

    With the return G_h that followed the h-th response, and V fitted to such returns::

        V  = argmin over V of   E_h (G_h - V(s_h))^2            (or cross-entropy, for outcomes)
        pi = argmax over pi of  E_h min(exp((G_h - V(s_h)) / beta), max_weight) log pi(a_h | s_h)

    where log pi(a | s) is the sum over the response's tokens. It needs words and outcomes alone
    (``Collector(log=...)``), of any seller; without a log the mediocre scripted seller writes one
    with the whole budget.

    Raises:
        ConvgymError: when the model that ``config.policy`` names cannot be loaded.
    """

    Config = AWRConfig
    config: AWRConfig

    def train(
        self,
        collector: Collector,
        *,
        folder: Path | None = None,
        progress: ProgressCallback = no_progress,
    ) -> TrainingReport:
        """Learn from the collector's log; see ``Agent.train``.

        Raises:
            ConvgymError: for a log in which all conversations sold, or none did.
        """
        config, model = self.config, self.model
        run = self.start_run(collector, folder)
        generator = torch.Generator().manual_seed(collector.seed)
        episodes = read_or_write_log(collector, config.epsilon, progress)
        refuse_one_sided(episodes, self.name)

        state = run.state or {}
        if not state:
            fitted = fit_q(
                model,
                QEnsemble(model, config.q_function),
                episodes,
                held_out=0.0,
                generator=generator,
                progress=progress,
            )
            weights = [
                response_weights(
                    estimates.returns, estimates.values, config.beta, config.max_weight
                )
                for estimates in fitted.estimates
            ]
            run.rows.append({**fitted.metrics, **spread(weights)})
            state = {"weights": weights, "generator": generator.get_state()}
            run.save(state)
        if "model" not in state:
            generator.set_state(state["generator"])
            loss = config.imitation.imitate(
                model,
                model.tokenise(episodes),
                weights=state["weights"],
                generator=generator,
                progress=progress,
            )
            run.rows.append({} if loss is None else {"loss": loss})
            state["model"] = model.weights()
            run.save(state)
        model.load_weights(state["model"])
        return run.report()


def response_weights(
    returns: Sequence[float], values: Sequence[float], beta: float, max_weight: float
) -> list[float]:
    """Return ``min(exp((G_h - V(s_h)) / beta), max_weight)`` of every response of a conversation.

    Args:
        returns: G_h.
        values: V(s_h).
        beta: the temperature, positive.
        max_weight: the largest weight.
    """
    highest = math.log(max_weight)
    return [math.exp(min((g - v) / beta, highest)) for g, v in zip(returns, values, strict=True)]


def spread(weights: Sequence[Sequence[float]]) -> dict[str, float]:
    """Return the responses' mean weight, and their effective sample size as a share (Kong 1992)."""
    flat = [weight for of_conversation in weights for weight in of_conversation]
    total, squares = math.fsum(flat), math.fsum(weight**2 for weight in flat)
    return {"mean_weight": total / len(flat), "effective_share": total**2 / squares / len(flat)}
