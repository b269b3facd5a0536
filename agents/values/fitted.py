"""Step 2 of Iterative PPO: a policy's Q, fitted to the conversations that it held."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

from convgym.agents.model.batch import TokenisedEpisode
from convgym.agents.model.language_model import LanguageModel
from convgym.agents.values.estimates import ValueEstimates
from convgym.agents.values.fitting import diagnose, fit
from convgym.agents.values.q_function import QEnsemble
from convgym.agents.values.reuse import reused
from convgym.conversation import Episode
from convgym.progress import ProgressCallback, no_progress


@dataclass(frozen=True, slots=True)
class FittedQ:
    """A fitted Q, and what it says of the log that it was fitted to."""

    ensemble: QEnsemble
    log: Sequence[TokenisedEpisode]
    estimates: Sequence[ValueEstimates]
    """What the member of ``ensemble`` that has not seen it says of each conversation."""
    held_out: int
    """So many conversations at the log's beginning are the gate's: neither a single member of Q
    nor the improvement step learns from them."""
    metrics: Mapping[str, float]
    """How good it is on conversations that it has not seen (``diagnose``)."""


def fit_q(
    model: LanguageModel,
    ensemble: QEnsemble,
    episodes: Sequence[Episode],
    *,
    held_out: float,
    generator: torch.Generator,
    earlier: Sequence[Sequence[TokenisedEpisode]] = (),
    progress: ProgressCallback = no_progress,
) -> FittedQ:
    """Fit a policy's Q to its log, in place, from where ``ensemble`` is.

    Args:
        model: the policy that held the conversations.
        ensemble: what is fitted further.
        episodes: the log; see ``LanguageModel.tokenise`` for what of it is learned from.
        held_out: share of the log, at its beginning, that is kept for the gate.
        generator: all randomness.
        earlier: logs of earlier rounds, oldest first, used as the config's ``reuse`` says.
        progress: told the members that are done.
    """
    config = ensemble.config
    log, read = ensemble.interpreter.read(episodes)
    kept = held_out_of(log, held_out)
    judged = fit(
        ensemble,
        read,
        earlier=reused(earlier, model, config),
        held_out=kept,
        generator=generator,
        progress=progress,
    )
    # A single member has seen all but what was held out.
    unseen = slice(kept if kept and config.folds == 1 else None)
    metrics = diagnose(log[unseen], judged[unseen], config)
    estimates = ensemble.interpreter.estimates(log, judged)
    return FittedQ(ensemble, log, estimates, kept, metrics)


def held_out_of(log: Sequence[TokenisedEpisode], share: float) -> int:
    """Return how many conversations at a log's beginning are a share of it, never all of them."""
    return min(round(share * len(log)), len(log) - 1)
