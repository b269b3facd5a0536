"""Best-of-n with distillation: the plainest solver of the single-turn problem, a check on others.

To every state n responses are sampled from the reference, and the policy imitates the one with the
highest score. Sampling that way differs from the reference by at most ``log n - (n - 1) / n`` nats
per response (Beirami et al. 2024, arXiv 2401.01879), so n is the trust region.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from convgym.agents.improvement.candidates import scores_of
from convgym.agents.improvement.problem import PolicyWatch, SingleTurnProblem, watch_nothing
from convgym.agents.model.language_model import LanguageModel
from convgym.agents.model.minibatches import neighbours, shuffled
from convgym.agents.training.optim import Optimiser
from convgym.checks import check_fields
from convgym.errors import ConvgymError
from convgym.progress import Progress, ProgressCallback, no_progress


@dataclass(frozen=True, slots=True)
class BestOfN:
    """Best of n with distillation: imitate, at every state, the best of n sampled responses.

    With responses a_1 .. a_n to a state s, sampled from the reference, and their scores::

        maximise  E_s log pi(a* | s),   a* = argmax over i of  score(s, a_i)

    The policy stays within ``log n - (n - 1) / n`` nats per response of the reference (Beirami et
    al. 2024, arXiv 2401.01879): ``samples``, n, is the trust region and matters most.

    Raises:
        ConvgymError: for fewer than 2 samples.
    """

    samples: int = 4
    """Responses per state, n; at least 2."""
    epochs: int = 1
    minibatch: int = 32
    """Conversations per optimiser step; the winners of all their states are imitated."""
    learning_rate: float = 3e-4
    max_gradient_norm: float = 1.0

    def __post_init__(self) -> None:
        check_fields(
            self,
            counts=("samples", "minibatch"),
            counts_from_zero=("epochs",),
            from_zero=("learning_rate",),
            bounds=("max_gradient_norm",),
        )
        if self.samples < 2:
            raise ConvgymError(f"best-of-n needs at least 2 samples, got {self.samples}")

    def improve(
        self,
        reference: LanguageModel,
        problem: SingleTurnProblem,
        *,
        generator: torch.Generator,
        progress: ProgressCallback = no_progress,
        watch: PolicyWatch = watch_nothing,
    ) -> tuple[LanguageModel, dict[str, float]]:
        """Return a copy of ``reference`` that imitates its best responses."""
        parts = neighbours(problem.log, self.minibatch)
        total = (1 + self.epochs) * len(parts)

        packs, gains = [], []
        for number, part in enumerate(parts):
            episodes = [problem.log[i] for i in part]
            candidates = reference.sample(episodes, self.samples, generator)
            scores = scores_of(problem, episodes, candidates).view(-1, self.samples)
            best, winners = scores.max(dim=1)
            gains.append(best - scores.mean(dim=1))
            chosen = iter(winners.tolist())
            # Candidates stand state by state, ``samples`` in a row.
            won = [
                [of_episode[i + next(chosen)] for i in range(0, len(of_episode), self.samples)]
                for of_episode in candidates
            ]
            packs.append(reference.pack(list(zip(episodes, won, strict=True))))
            progress(Progress("improve", number + 1, total))

        model = reference.copy()
        optimiser = Optimiser(
            model.trained_parameters(), self.learning_rate, self.max_gradient_norm
        )
        metrics = {"score_gain": float(torch.cat(gains).mean())}
        done = len(parts)
        for _ in range(self.epochs):
            loss_sum = 0.0
            for i in shuffled(len(packs), generator):
                packed = packs[i]
                tokens = packed.ids[packed.rows, packed.columns]
                distributions = model.packed_distributions(packed)
                loss = -distributions.gather(1, tokens[:, None]).mean()
                optimiser.step(loss)
                loss_sum += loss.item()
                done += 1
                progress(Progress("improve", done, total, metrics))
            metrics["imitation_loss"] = loss_sum / len(packs)
            watch(model)
        return model, metrics
