"""Token-level PPO on the single-turn problem: the improvement step of the paper, and our default.

The responses that it learns from come from two sources. The logged ones are samples of the
reference policy themselves; their token-level advantages come with the problem. Fresh ones, sampled
from the policy as it changes, are judged by the problem's score, centred within each state.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from convgym.agents.improvement.bound import DivergenceBound
from convgym.agents.improvement.fresh import (
    ClippedSteps,
    FreshBatch,
    merged,
    packed_minibatches,
    sample_scored,
)
from convgym.agents.improvement.problem import PolicyWatch, SingleTurnProblem, watch_nothing
from convgym.agents.model.batch import first_tokens
from convgym.agents.model.language_model import LanguageModel, exact_kl
from convgym.agents.model.minibatches import neighbours, shuffled
from convgym.agents.training import losses
from convgym.agents.training.optim import Optimiser
from convgym.checks import check_fields
from convgym.errors import ConvgymError
from convgym.progress import Progress, ProgressCallback, no_progress


@dataclass(frozen=True, slots=True)
class TokenPPO:
    """Token-level PPO on the single-turn problem, the paper's improvement step (arXiv 2511.21638).

    With the ratio rho_t of the new and the sampling probability of response token t, its advantage
    A_t (of a fresh response: its score less the mean score of its state), and the exact divergence
    of the token's distribution from the reference's::

        maximise  E_t min(rho_t A_t, clip(rho_t, 1 - clip, 1 + clip) A_t)
                  - kl_coefficient * E_t KL(pi(. | t), pi_reference(. | t))

    Learns from logged responses first, for ``epochs``, then from ``fresh_steps`` batches of fresh
    ones. ``learning_rate``, ``fresh_kl_coefficient`` and ``fresh_steps`` matter most. Divergences
    are all from the reference, in nats per response.

    Raises:
        ConvgymError: for fewer than 2 fresh samples.
    """

    epochs: int = 0
    """Passes over the logged responses."""
    minibatch: int = 16
    """Conversations per optimiser step."""
    fresh_steps: int = 8
    """Batches of fresh responses after that."""
    fresh_conversations: int = 64
    """Logged conversations per batch of fresh responses; every one of their states is a prompt."""
    fresh_samples: int = 4
    """Fresh responses per state, at least 2."""
    fresh_epochs: int = 1
    """Passes over every batch of fresh responses."""
    learning_rate: float = 3e-4
    clip: float = 0.2
    kl_coefficient: float = 0.1
    """Weight per token of the exact KL divergence on logged responses."""
    fresh_kl_coefficient: float = 0.2
    """The same on fresh responses, whose scores are in units of their deviation within states."""
    adaptive_kl: float | None = None
    """Where given, both weights are doubled after a pass or batch whose divergence exceeds 1.5
    times this, and halved below it divided by 1.5 (Schulman et al. 2017, section 4)."""
    target_kl: float = 1.0
    """The step ends where a minibatch shows a larger divergence, and goes back to the weights of
    the last minibatch that showed none."""
    max_gradient_norm: float = 1.0

    def __post_init__(self) -> None:
        check_fields(
            self,
            counts=("minibatch", "fresh_conversations", "fresh_samples"),
            counts_from_zero=("epochs", "fresh_steps", "fresh_epochs"),
            positive=("clip",),
            bounds=("max_gradient_norm", "target_kl"),
            from_zero=("learning_rate", "kl_coefficient", "fresh_kl_coefficient"),
        )
        if self.fresh_samples < 2:
            raise ConvgymError(
                "fresh_samples must be at least 2, as scores are compared within a state, "
                f"got {self.fresh_samples}"
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
            The model, and metrics of the last pass or batch, among them ``kl_of_pass`` (nats per
            response) and ``taken_back``, 1 where the step went beyond ``target_kl``.
        """
        model = reference.copy()
        optimiser = Optimiser(
            model.trained_parameters(), self.learning_rate, self.max_gradient_norm
        )
        bound = DivergenceBound(model, self.target_kl)
        metrics: dict[str, float] = {}
        strength, scale = 1.0, 0.0  # of the KL penalties, and of fresh responses' scores
        total = self.epochs + self.fresh_steps
        for number in range(total):
            if number < self.epochs:
                metrics |= self._logged_pass(
                    model, reference, problem, optimiser, bound, strength, generator
                )
            else:
                batch, scale, of_batch = self._sample_fresh(model, problem, scale, generator)
                minibatches = packed_minibatches(batch, model, reference, self.minibatch)
                weight = strength * self.fresh_kl_coefficient
                steps = ClippedSteps(self.fresh_epochs, self.clip, weight)
                metrics |= of_batch
                metrics["kl_of_pass"] = steps.take(model, reference, minibatches, optimiser, bound)
            if number == total - 1:
                bound.holds_for(reference, problem.log[: self.minibatch])
            metrics["taken_back"] = float(bound.left)
            watch(model)
            kl = metrics["kl_of_pass"]
            if self.adaptive_kl is not None:
                metrics["kl_strength"] = strength
                strength = adapted(strength, kl, self.adaptive_kl)
            progress(Progress("improve", number + 1, total, metrics))
            if bound.left:
                break
        return model, metrics

    def _logged_pass(
        self,
        model: LanguageModel,
        reference: LanguageModel,
        problem: SingleTurnProblem,
        optimiser: Optimiser,
        bound: DivergenceBound,
        strength: float,
        generator: torch.Generator,
    ) -> dict[str, float]:
        """Take one pass of PPO over the logged responses, whole conversations at a time."""
        device = model.device
        everything = torch.tensor([a for row in problem.advantages for a in row], device=device)
        mean, deviation = everything.mean(), everything.std(correction=0) + 1e-8
        parts = neighbours(problem.log, self.minibatch)
        kl_sum = clip_sum = 0.0
        for number in shuffled(len(parts), generator):
            part = parts[number]
            batch = model.collate([problem.log[i] for i in part])
            scores = torch.tensor([a for i in part for a in problem.advantages[i]], device=device)
            old = batch.logprobs[batch.response]  # the log was written by the reference
            with torch.inference_mode():
                anchor = reference.distributions(batch)
            current = model.distributions(batch)
            logprobs = current.gather(-1, batch.ids[batch.response][:, None])[:, 0]
            kl = exact_kl(current, anchor)
            per_response = float(kl.detach().sum()) / int(first_tokens(batch).sum())
            clip = float(losses.clip_fraction(logprobs.detach(), old, self.clip))
            if not bound.holds(per_response):
                return {"kl_of_pass": per_response, "clip_fraction": clip}
            advantages = (scores - mean) / deviation
            loss = losses.clipped_surrogate(logprobs, old, advantages, self.clip).mean()
            penalty = strength * self.kl_coefficient * kl.mean()
            optimiser.step(loss + penalty)
            kl_sum += per_response
            clip_sum += clip
        return {"kl_of_pass": kl_sum / len(parts), "clip_fraction": clip_sum / len(parts)}

    def _sample_fresh(
        self,
        model: LanguageModel,
        problem: SingleTurnProblem,
        scale: float,
        generator: torch.Generator,
    ) -> tuple[FreshBatch, float, dict[str, float]]:
        """Sample responses to logged states and have them scored.

        Advantages are in units of ``scale``, the first batch's standard deviation within states
        (0: not known yet). A unit of each batch's own would blow up what is left to gain when
        the policy has become sure of its responses, against a KL penalty that stays as it is.

        Returns:
            The responses, the scale, and metrics.
        """
        scored = sample_scored(
            model, problem, self.fresh_conversations, self.fresh_samples, generator
        )
        groups = scored.scores
        # Centred within each state: differences between states are no merit of a response.
        centred = groups - groups.mean(dim=1, keepdim=True)
        if not scale:
            spread = float(centred.std()) + 1e-8
            scale = spread if spread > 1e-6 else 0.0  # rounding apart, all scored alike: no unit
        metrics = {
            "fresh_score": float(groups.mean()),
            "fresh_score_scale": scale,
            "fresh_score_sd_within_states": float(groups.std(dim=1).mean()),
        }
        return merged(scored, centred / (scale or 1.0)), scale, metrics


def adapted(strength: float, kl: float, target: float) -> float:
    """Return the new strength of a KL penalty after a divergence ``kl`` was measured."""
    if kl > 1.5 * target:
        return 2 * strength
    return strength / 2 if kl < target / 1.5 else strength
