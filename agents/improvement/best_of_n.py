"""Best-of-n with distillation: the plainest solver of the single-turn problem, a check on others.

To every state n responses are sampled from the reference, and the policy imitates the one with the
highest score. Sampling that way differs from the reference by at most ``log n - (n - 1) / n`` nats
per response (Beirami et al. 2024, arXiv 2401.01879), so n is the trust region.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from convgym.agents.improvement.candidates import sample_candidates, scores_of
from convgym.agents.improvement.problem import SingleTurnProblem, Tell
from convgym.agents.model.packing import hidden_states, pack
from convgym.agents.model.sampling import SamplingConfig, token_logprobs
from convgym.agents.model.weights import copied
from convgym.agents.training.minibatches import neighbours, shuffled
from convgym.errors import ConvgymError


@dataclass(frozen=True, slots=True)
class BestOfN:
    """Hyperparameters."""

    samples: int = 4
    """Responses per state, n; at least 2."""
    epochs: int = 1
    minibatch: int = 32
    """Conversations per optimiser step; the winners of all their states are imitated."""
    learning_rate: float = 3e-4
    max_gradient_norm: float = 1.0

    def __post_init__(self) -> None:
        if self.samples < 2:
            raise ConvgymError(f"best-of-n needs at least 2 samples, got {self.samples}")

    def improve(
        self,
        reference: Any,
        problem: SingleTurnProblem,
        speech: SamplingConfig,
        *,
        generator: torch.Generator,
        tell: Tell = lambda done, total, metrics: None,
    ) -> tuple[Any, dict[str, float]]:
        """Return a copy of ``reference`` that imitates its best responses."""
        format = speech.format
        forbidden = torch.tensor(format.forbidden_ids, dtype=torch.long)
        parts = neighbours(problem.log, self.minibatch)
        total = (1 + self.epochs) * len(parts)

        packs, gains = [], []
        for number, part in enumerate(parts):
            met = [problem.log[i] for i in part]
            candidates = sample_candidates(reference, met, self.samples, speech, generator)
            scores = scores_of(problem, met, candidates).view(-1, self.samples)
            best, winners = scores.max(dim=1)
            gains.append(best - scores.mean(dim=1))
            chosen = iter(winners.tolist())
            # Candidates stand state by state, ``samples`` in a row.
            won = [
                [ones[i + next(chosen)] for i in range(0, len(ones), self.samples)]
                for ones in candidates
            ]
            packs.append(pack(list(zip(met, won, strict=True)), format.pad_id))
            tell(number + 1, total, {})

        model = copied(reference)
        optimizer = torch.optim.AdamW(
            model.parameters(), lr=self.learning_rate, weight_decay=0.0, fused=True
        )
        metrics = {"score_gain": float(torch.cat(gains).mean())}
        done = len(parts)
        for _ in range(self.epochs):
            loss_sum = 0.0
            for i in shuffled(len(packs), generator):
                packed = packs[i]
                states = hidden_states(model.base_model, packed)[packed.rows, packed.parents]
                logits = model.get_output_embeddings()(states)
                scored = token_logprobs(logits, forbidden, speech.temperature)
                tokens = packed.ids[packed.rows, packed.columns]
                loss = -scored.gather(1, tokens[:, None]).mean()
                optimizer.zero_grad()
                loss.backward()
                torch.nn.utils.clip_grad_norm_(model.parameters(), self.max_gradient_norm)
                optimizer.step()
                loss_sum += loss.item()
                done += 1
                tell(done, total, metrics)
            metrics["imitation_loss"] = loss_sum / len(packs)
        return model, metrics
