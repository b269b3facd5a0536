"""Fitted Q evaluation: a Q of a new policy, from conversations that another one held.

The Q that a round fits is that of the deployed policy: at an opening it tells what a new first
response gains if the old ones follow. Asked for its successors, it is made the new policy's, step
by step of the horizon.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch

from convgym.agents.model.batch import TokenisedEpisode, last_tokens
from convgym.agents.model.language_model import LanguageModel
from convgym.agents.model.minibatches import neighbours, shuffled
from convgym.agents.model.weights import load_trained_weights, trained_weights
from convgym.agents.off_policy.evidence import fresh_values
from convgym.agents.training import losses
from convgym.agents.training.optim import Optimiser
from convgym.agents.values.q_function import QEnsemble, QFunction
from convgym.checks import check_fields
from convgym.errors import ConvgymError


@dataclass(frozen=True, slots=True)
class FittedEvaluation:
    """Fitted Q evaluation (Le, Voloshin and Yue 2019, arXiv 1903.08738, algorithm 3).

    In every iteration Q is regressed, over the turns of the log, on what it says itself of what
    the new policy pi' would say next::

        y_t = mean over fresh a ~ pi' of  Q(s_{t+1}, a),    y_H = outcome

    It begins as the deployed policy's fitted Q, off the value head alone: no replies are imagined.
    ``iterations`` and ``learning_rate`` matter most; news of the outcome travels a turn back an
    iteration.

    Raises:
        ConvgymError: for settings that cannot be.
    """

    iterations: int = 8
    samples: int = 2
    """Fresh responses of the new policy to every state, anew in every iteration."""
    minibatch: int = 32
    """Conversations per optimiser step."""
    learning_rate: float = 3e-4
    """Falls linearly to 0 over all iterations."""
    max_gradient_norm: float = 1.0

    def __post_init__(self) -> None:
        check_fields(
            self,
            counts=("iterations", "samples", "minibatch"),
            bounds=("max_gradient_norm",),
            from_zero=("learning_rate",),
        )

    def evaluate(
        self,
        deployed: QEnsemble,
        policy: LanguageModel,
        log: Sequence[TokenisedEpisode],
        generator: torch.Generator,
    ) -> QEnsemble:
        """Return the fitted Q of ``policy``.

        Args:
            deployed: the fitted Q of the policy that held the log; stays as it is.
            policy: whose Q is wanted.
            log: what may be learned from.
            generator: all randomness, on the CPU.

        Raises:
            ConvgymError: for a Q of several members or with a trunk of its own, whose values are
                not one head's over the policy's tokens, or of unbounded values.
        """
        config = deployed.config
        if config.folds != 1 or config.trunk is not None or config.loss != "bce":
            raise ConvgymError(
                "fitted Q evaluation goes on from a Q with folds=1, trunk=None and loss='bce', got"
                f" folds={config.folds}, trunk={config.trunk!r} and loss={config.loss!r}"
            )
        ensemble = QEnsemble(policy, replace(config, imagined=0.0, form="direct"))
        load_trained_weights(ensemble, trained_weights(deployed))
        (member,) = ensemble
        optimiser = Optimiser(
            [parameter for parameter in member.parameters() if parameter.requires_grad],
            self.learning_rate,
            self.max_gradient_norm,
            0.01,
        )
        score = partial(ensemble.score, generator=generator)
        parts = neighbours(log, self.minibatch)
        done, total = 0, self.iterations * len(parts)
        for _ in range(self.iterations):
            following = fresh_values(policy, score, log, samples=self.samples, generator=generator)
            targets = [
                [*values[1:].tolist(), episode.outcome]
                for values, episode in zip(following, log, strict=True)
            ]
            for number in shuffled(len(parts), generator):
                part = parts[number]
                optimiser.schedule(1 - done / total)
                optimiser.step(_loss(member, [log[i] for i in part], [targets[i] for i in part]))
                done += 1
        return ensemble


def _loss(
    member: QFunction, episodes: Sequence[TokenisedEpisode], targets: Sequence[Sequence[float]]
) -> torch.Tensor:
    """Return the mean loss of Q(s, a) over the turns of some conversations."""
    batch = member.model.collate(episodes)
    raw = member.raw_values(member(batch.ids)[last_tokens(batch)])
    wanted = torch.tensor([y for row in targets for y in row], device=raw.device)
    return losses.outcome_loss(raw, wanted).mean()
