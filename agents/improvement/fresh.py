"""Policy-gradient steps on fresh responses to logged states, whatever their advantages are.

Conversations are read once for all responses to their states, and equal responses once for all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from convgym.agents.improvement.bound import DivergenceBound
from convgym.agents.improvement.candidates import distinct, scores_of, split_as
from convgym.agents.improvement.problem import SingleTurnProblem
from convgym.agents.model.batch import TokenisedEpisode
from convgym.agents.model.language_model import LanguageModel, exact_kl
from convgym.agents.model.minibatches import neighbours, shuffled
from convgym.agents.model.packing import Candidate, Packed
from convgym.agents.training import losses, parallel
from convgym.agents.training.optim import Optimiser

_PACK = 4
"""Conversations that are read in one forward pass, of those of a minibatch."""


@dataclass(frozen=True, slots=True)
class Scored:
    """Fresh responses to all states of some conversations."""

    episodes: Sequence[TokenisedEpisode]
    candidates: Sequence[Sequence[Candidate]]
    """Of every conversation: state by state, as many in a row as there are samples."""
    scores: Tensor
    """(S, samples), by state."""


@dataclass(frozen=True, slots=True)
class FreshBatch:
    """Fresh responses to the states of some conversations, equal ones as one."""

    episodes: Sequence[TokenisedEpisode]
    candidates: Sequence[Sequence[Candidate]]
    """The different responses to each conversation's states."""
    advantages: Sequence[Tensor]
    """Of the responses, by conversation."""
    counts: Sequence[Tensor]
    """How many equal responses each stands for, by conversation."""


@dataclass(frozen=True, slots=True)
class PackedPart:
    """The N tokens of some conversations' different fresh responses."""

    packed: Packed
    anchor: Tensor
    """(N, width) hidden states of the reference: its distributions over a vocabulary of 49,152
    tokens would take 85 times as much memory, for all parts of a batch at once."""
    advantages: Tensor
    """(N,) of the token's response."""
    counts: Tensor
    """(N,) how many equal responses the token's stands for."""
    weights: Tensor
    """(N,) what the token's loss weighs."""
    responses: float
    """Responses in all, equal ones counted each."""


def sample_scored(
    model: LanguageModel,
    problem: SingleTurnProblem,
    conversations: int,
    samples: int,
    generator: torch.Generator,
) -> Scored:
    """Sample responses to the states of some logged conversations and have them scored."""
    order = shuffled(len(problem.log), generator)
    episodes = [problem.log[i] for i in order[:conversations]]
    candidates = model.sample(episodes, samples, generator)
    scores = scores_of(problem, episodes, candidates)
    return Scored(episodes, candidates, scores.view(-1, samples))


def merged(scored: Scored, advantages: Tensor) -> FreshBatch:
    """Return fresh responses with their advantages (S, samples), equal ones as one."""
    different, first, counts = distinct(scored.candidates)
    device = advantages.device
    chosen = advantages.flatten()[torch.tensor(first, device=device)]
    return FreshBatch(
        episodes=scored.episodes,
        candidates=different,
        advantages=split_as(chosen, different),
        counts=split_as(torch.tensor(counts, device=device), different),
    )


def packed_minibatches(
    batch: FreshBatch,
    model: LanguageModel,
    reference: LanguageModel,
    size: int,
    *,
    responses_alike: bool = False,
) -> list[list[PackedPart]]:
    """Return minibatches of packs; random ones, a pack holding neighbours in length.

    Neighbours need little padding. The reference reads them once.

    Args:
        batch: the fresh responses.
        model: in whose format they are packed.
        reference: what divergences are measured from.
        size: conversations per minibatch.
        responses_alike: whether every response weighs the same, however long, or every token.
    """
    minibatches = []
    for start in range(0, len(batch.episodes), size):
        parts = []
        for place in neighbours(batch.episodes[start : start + size], _PACK):
            part = [start + i for i in place]
            packed = model.pack([(batch.episodes[i], batch.candidates[i]) for i in part])
            with torch.inference_mode():
                anchor = reference.packed_states(packed)
            advantages = torch.cat([batch.advantages[i] for i in part])
            counts = torch.cat([batch.counts[i] for i in part])
            of_token = packed.response
            weights = counts / torch.bincount(of_token) if responses_alike else counts
            parts.append(
                PackedPart(
                    packed,
                    anchor,
                    advantages[of_token],
                    counts[of_token],
                    weights[of_token],
                    responses=float(counts.sum()),
                )
            )
        minibatches.append(parts)
    return minibatches


@dataclass(frozen=True, slots=True)
class ClippedSteps:
    """PPO's steps on fresh responses."""

    epochs: int
    clip: float
    kl_weight: float
    """Of the exact divergence from the reference, per token."""

    def take(
        self,
        model: LanguageModel,
        reference: LanguageModel,
        minibatches: Sequence[Sequence[PackedPart]],
        optimiser: Optimiser,
        bound: DivergenceBound,
    ) -> float:
        """Take them within the bound.

        Returns:
            The last pass's divergence, nats per response; of a model that left the bound, the one
            that a minibatch showed beyond it.
        """
        kl_sum, all_responses = 0.0, 0.0
        for _ in range(self.epochs):
            kl_sum, all_responses = 0.0, 0.0
            for parts in minibatches:
                own, share = parallel.own_parts(parts)
                kl_of_own = 0.0
                responses = sum(part.responses for part in parts)
                weight = sum(float(part.weights.sum()) for part in parts)
                optimiser.zero_gradients()
                for part in own:
                    kl_of_own += self._accumulate(model, reference, part, weight, share)
                optimiser.share_gradients()
                kl_here = parallel.total(kl_of_own, model.device)
                if not bound.holds(kl_here / responses):
                    return kl_here / responses
                optimiser.update()
                kl_sum += kl_here
                all_responses += responses
        return kl_sum / all_responses

    def _accumulate(
        self,
        model: LanguageModel,
        reference: LanguageModel,
        part: PackedPart,
        weight: float,
        share: float,
    ) -> float:
        """Add a pack's gradient of the mean loss over ``weight``; return its summed divergence.

        Both count ``share`` times, 0 or 1.
        """
        packed = part.packed
        current = model.packed_distributions(packed)
        said = packed.ids[packed.rows, packed.columns]
        with torch.no_grad():
            anchor = reference.choices(part.anchor)
        kl = exact_kl(current, anchor)
        token_losses = losses.clipped_surrogate(
            current.gather(1, said[:, None])[:, 0], packed.logprobs, part.advantages, self.clip
        )
        token_losses = token_losses + self.kl_weight * kl
        (share * (part.weights * token_losses).sum() / weight).backward()
        return share * float((part.counts * kl.detach()).sum())
