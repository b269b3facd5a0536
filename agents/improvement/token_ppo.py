"""Token-level PPO on the single-turn problem: the improvement step of the paper, and our default.

The responses that it learns from come from two sources. The logged ones are samples of the
reference policy themselves; their token-level advantages come with the problem. Fresh ones, sampled
from the policy as it changes, are judged by the problem's score, centred within each state.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from convgym.agents.improvement.candidates import distinct, sample_candidates, scores_of
from convgym.agents.improvement.problem import SingleTurnProblem, Tell
from convgym.agents.model.batch import collate, first_tokens
from convgym.agents.model.logprobs import response_distributions
from convgym.agents.model.packing import Packed, hidden_states, pack
from convgym.agents.model.sampling import SamplingConfig, token_logprobs
from convgym.agents.model.weights import copied
from convgym.agents.training import losses
from convgym.agents.training.minibatches import neighbours, shuffled
from convgym.errors import ConvgymError

_PACK = 4
"""Conversations that are read in one forward pass, of those of a minibatch."""


@dataclass(frozen=True, slots=True)
class TokenPPO:
    """Hyperparameters. KL divergences are in nats per response, from the reference."""

    epochs: int = 0
    """Passes over the logged responses."""
    minibatch: int = 16
    """Conversations per optimiser step."""
    fresh_steps: int = 16
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
    """The step ends before an update whose minibatch shows a larger divergence."""
    max_gradient_norm: float = 1.0

    def __post_init__(self) -> None:
        if self.fresh_samples < 2:
            raise ConvgymError(
                "fresh_samples must be at least 2, as scores are compared within a state, "
                f"got {self.fresh_samples}"
            )

    def improve(
        self,
        reference: Any,
        problem: SingleTurnProblem,
        speech: SamplingConfig,
        *,
        generator: torch.Generator,
        tell: Tell = lambda done, total, metrics: None,
    ) -> tuple[Any, dict[str, float]]:
        """Return the improved copy of ``reference``; see ``Improvement``."""
        model = copied(reference)
        trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
        optimizer = torch.optim.AdamW(trained, lr=self.learning_rate, weight_decay=0.0, fused=True)
        metrics: dict[str, float] = {}
        strength, scale = 1.0, 0.0  # of the KL penalties, and of fresh responses' scores
        total = self.epochs + self.fresh_steps
        for number in range(total):
            if number < self.epochs:
                found = self._logged_pass(
                    model, reference, problem, speech, optimizer, strength, generator
                )
            else:
                found = self._fresh_batch(
                    model, reference, problem, speech, optimizer, strength, scale, generator
                )
                scale = found["fresh_score_scale"]
            metrics |= found
            kl = metrics["kl_of_pass"]
            if self.adaptive_kl is not None:
                metrics["kl_strength"] = strength
                strength = adapted(strength, kl, self.adaptive_kl)
            tell(number + 1, total, metrics)
            if kl > self.target_kl:
                break
        return model, metrics

    def _logged_pass(
        self,
        model: Any,
        reference: Any,
        problem: SingleTurnProblem,
        speech: SamplingConfig,
        optimizer: torch.optim.Optimizer,
        strength: float,
        generator: torch.Generator,
    ) -> dict[str, float]:
        """Take one pass of PPO over the logged responses, whole conversations at a time."""
        everything = torch.tensor([a for row in problem.advantages for a in row])
        mean, deviation = everything.mean(), everything.std(correction=0) + 1e-8
        parts = neighbours(problem.log, self.minibatch)
        kl_sum = clip_sum = 0.0
        for number in shuffled(len(parts), generator):
            part = parts[number]
            batch = collate([problem.log[i] for i in part], speech.format.pad_id)
            scores = torch.tensor([a for i in part for a in problem.advantages[i]])
            old = batch.logprobs[batch.response]  # the log was written by the reference
            with torch.inference_mode():
                anchor = response_distributions(reference, speech.format, batch, speech.temperature)
            current = response_distributions(model, speech.format, batch, speech.temperature)
            logprobs = current.gather(-1, batch.ids[batch.response][:, None])[:, 0]
            kl = exact_kl(current, anchor)
            per_response = float(kl.detach().sum()) / int(first_tokens(batch).sum())
            clip = float(losses.clip_fraction(logprobs.detach(), old, self.clip))
            if per_response > self.target_kl:
                return {"kl_of_pass": per_response, "clip_fraction": clip}
            advantages = (scores - mean) / deviation
            loss = losses.clipped_surrogate(logprobs, old, advantages, self.clip).mean()
            penalty = strength * self.kl_coefficient * kl.mean()
            optimizer.zero_grad()
            (loss + penalty).backward()
            self._update(model, optimizer)
            kl_sum += per_response
            clip_sum += clip
        return {"kl_of_pass": kl_sum / len(parts), "clip_fraction": clip_sum / len(parts)}

    def _fresh_batch(
        self,
        model: Any,
        reference: Any,
        problem: SingleTurnProblem,
        speech: SamplingConfig,
        optimizer: torch.optim.Optimizer,
        strength: float,
        scale: float,
        generator: torch.Generator,
    ) -> dict[str, float]:
        """Sample responses to logged states, have them scored, and take PPO steps on them.

        Advantages are in units of ``scale``, the first batch's standard deviation within states
        (0: not known yet). A unit of each batch's own would blow up what is left to gain when
        the policy has become sure of its responses, against a KL penalty that stays as it is.
        """
        format = speech.format
        forbidden = torch.tensor(format.forbidden_ids, dtype=torch.long)

        def distributions(network: Any, packed: Packed) -> Tensor:
            chosen = hidden_states(network.base_model, packed)[packed.rows, packed.parents]
            logits = network.get_output_embeddings()(chosen)
            return token_logprobs(logits, forbidden, speech.temperature)

        order = shuffled(len(problem.log), generator)
        met = [problem.log[i] for i in order[: self.fresh_conversations]]
        candidates = sample_candidates(model, met, self.fresh_samples, speech, generator)
        scores = scores_of(problem, met, candidates)
        groups = scores.view(-1, self.fresh_samples)
        # Centred within each state: differences between states are no merit of a response.
        centred = groups - groups.mean(dim=1, keepdim=True)
        if not scale:
            spread = float(centred.std()) + 1e-8
            scale = spread if spread > 1e-6 else 0.0  # rounding apart, all scored alike: no unit
        different, first, counts = distinct(candidates)
        scaled = (centred / (scale or 1.0)).flatten()[first]
        sizes = [len(ones) for ones in different]
        advantages_of, counts_of = scaled.split(sizes), counts.split(sizes)

        def packed_with_anchor(part: Sequence[int]) -> _Part:
            packed = pack([(met[i], different[i]) for i in part], format.pad_id)
            with torch.inference_mode():
                anchor = distributions(reference, packed)
            advantages, count = (
                torch.cat([some[i] for i in part]) for some in (advantages_of, counts_of)
            )
            of_token = packed.response
            return _Part(packed, anchor, advantages[of_token], count[of_token], float(count.sum()))

        # Minibatches are random; within one, a pack holds neighbours in length: little padding.
        minibatches = []
        for start in range(0, len(met), self.minibatch):
            some = neighbours(met[start : start + self.minibatch], _PACK)
            minibatches.append([packed_with_anchor([start + i for i in part]) for part in some])
        found = {
            "fresh_score": float(scores.mean()),
            "fresh_score_scale": scale,
            "fresh_score_sd_within_states": float(groups.std(dim=1).mean()),
        }
        kl_sum = 0.0
        for _ in range(self.fresh_epochs):
            kl_sum = 0.0  # of the last pass
            for parts in minibatches:
                kl_here = 0.0
                responses = sum(part.responses for part in parts)
                tokens = sum(float(part.weights.sum()) for part in parts)
                optimizer.zero_grad()
                for part in parts:
                    packed, weights = part.packed, part.weights
                    current = distributions(model, packed)
                    said = packed.ids[packed.rows, packed.columns]
                    kl = exact_kl(current, part.anchor)
                    token_losses = losses.clipped_surrogate(
                        current.gather(1, said[:, None])[:, 0],
                        packed.logprobs,
                        part.advantages,
                        self.clip,
                    )
                    token_losses = token_losses + strength * self.fresh_kl_coefficient * kl
                    ((weights * token_losses).sum() / tokens).backward()
                    kl_here += float((weights * kl.detach()).sum())
                if kl_here / responses > self.target_kl:
                    return {"kl_of_pass": kl_here / responses, **found}
                self._update(model, optimizer)
                kl_sum += kl_here
        return {"kl_of_pass": kl_sum / len(scores), **found}

    def _update(self, model: Any, optimizer: torch.optim.Optimizer) -> None:
        torch.nn.utils.clip_grad_norm_(model.parameters(), self.max_gradient_norm)
        optimizer.step()


@dataclass(frozen=True, slots=True)
class _Part:
    """The N tokens of some conversations' different fresh responses."""

    packed: Packed
    anchor: Tensor
    """(N, V) log-probabilities under the reference."""
    advantages: Tensor
    """(N,) of the token's response."""
    weights: Tensor
    """(N,) how many equal responses the token's stands for."""
    responses: float
    """Responses in all, equal ones counted each."""


def exact_kl(logprobs: Tensor, reference: Tensor) -> Tensor:
    """Return KL (...) of distributions given by log-probabilities (..., V), in nats.

    Estimates from the sampled tokens alone do not see probability that moves to tokens which the
    log does not hold, and that is where a policy drifts to (docs/log.md).
    """
    # Forbidden tokens are -inf - -inf.
    return (logprobs.exp() * (logprobs - reference).nan_to_num(0.0)).sum(-1)


def adapted(strength: float, kl: float, target: float) -> float:
    """Return the new strength of a KL penalty after a divergence ``kl`` was measured."""
    if kl > 1.5 * target:
        return 2 * strength
    return strength / 2 if kl < target / 1.5 else strength
