"""GRPO on the single-turn problem: scores are compared within a state, and measured by its spread.

The improvement step of Iterative PPO's later version. It differs from ``token_ppo`` in the units of
advantages: here every state has its own, so that what is left to choose counts in full wherever
responses still differ, there all states have the first batch's.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from convgym.agents.improvement.bound import DivergenceBound
from convgym.agents.improvement.fresh import (
    ClippedSteps,
    merged,
    packed_minibatches,
    sample_scored,
)
from convgym.agents.improvement.problem import PolicyWatch, SingleTurnProblem, watch_nothing
from convgym.agents.model.language_model import LanguageModel
from convgym.agents.training import losses
from convgym.agents.training.optim import Optimiser
from convgym.checks import check_fields
from convgym.errors import ConvgymError
from convgym.progress import Progress, ProgressCallback, no_progress


@dataclass(frozen=True, slots=True)
class TokenGRPO:
    """GRPO on the single-turn problem (Shao et al. 2024, arXiv 2402.03300, equation 3).

    With responses a_1 .. a_n to a state s, sampled from the policy as it changes, their scores q_i,
    and the ratio rho_t of the new and the sampling probability of response token t::

        A_i = (q_i - mean q) / std q
        maximise  E_s E_i E_{t in a_i} [ min(rho_t A_i, clip(rho_t, 1 - clip, 1 + clip) A_i)
                                         - kl_coefficient * KL(pi(. | t), pi_reference(. | t)) ]

    The divergence is exact where the paper estimates it from the token that was said (its k3): the
    same in expectation. ``learning_rate``, ``kl_coefficient`` and ``steps`` matter most.

    Raises:
        ConvgymError: for fewer than 2 samples.
    """

    steps: int = 6
    """Batches of fresh responses."""
    conversations: int = 64
    """Logged conversations per batch; every one of their states is a prompt."""
    samples: int = 4
    """Responses per state, the paper's G; at least 2."""
    epochs: int = 1
    """Passes over every batch, the paper's mu."""
    minibatch: int = 16
    """Conversations per optimiser step."""
    learning_rate: float = 3e-4
    clip: float = 0.2
    kl_coefficient: float = 0.4
    target_kl: float = 1.0
    """The step ends where a minibatch shows a larger divergence from the reference, in nats per
    response, and goes back to the weights of the last minibatch that showed none."""
    max_gradient_norm: float = 1.0

    def __post_init__(self) -> None:
        check_fields(
            self,
            counts=("conversations", "samples", "minibatch"),
            counts_from_zero=("steps", "epochs"),
            positive=("clip",),
            bounds=("max_gradient_norm", "target_kl"),
            from_zero=("learning_rate", "kl_coefficient"),
        )
        if self.samples < 2:
            raise ConvgymError(
                "samples must be at least 2, as scores are compared within a state, "
                f"got {self.samples}"
            )

    def improve(
        self,
        reference: LanguageModel,
        problem: SingleTurnProblem,
        *,
        generator: torch.Generator,
        progress: ProgressCallback = no_progress,
        watch: PolicyWatch = watch_nothing,
    ) -> tuple[LanguageModel, dict[str, float]]:
        """Return the improved copy of ``reference``; see ``Improvement``.

        Returns:
            The model, and of the last batch: the scores' mean and their mean deviation within
            states, ``kl_of_pass`` (nats per response) and ``taken_back``, 1 where the step went
            beyond ``target_kl``.
        """
        model = reference.copy()
        optimiser = Optimiser(
            model.trained_parameters(), self.learning_rate, self.max_gradient_norm
        )
        clipped = ClippedSteps(self.epochs, self.clip, self.kl_coefficient)
        bound = DivergenceBound(model, self.target_kl)
        metrics: dict[str, float] = {}
        for number in range(self.steps):
            scored = sample_scored(model, problem, self.conversations, self.samples, generator)
            scores = scored.scores
            states = torch.arange(len(scores), device=scores.device)
            advantages = losses.group_advantages(
                scores.flatten(), states.repeat_interleave(self.samples)
            )
            minibatches = packed_minibatches(
                merged(scored, advantages.view_as(scores)),
                model,
                reference,
                self.minibatch,
                responses_alike=True,
            )
            kl = clipped.take(model, reference, minibatches, optimiser, bound)
            if number == self.steps - 1:
                bound.holds_for(reference, problem.log[: self.minibatch])
            metrics = {
                "fresh_score": float(scores.mean()),
                "fresh_score_sd_within_states": float(scores.std(dim=1).mean()),
                "kl_of_pass": kl,
                "taken_back": float(bound.left),
            }
            watch(model)
            progress(Progress("improve", number + 1, self.steps, metrics))
            if bound.left:
                break
        return model, metrics
