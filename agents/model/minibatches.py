"""Minibatches of conversations: neighbours in length together, in random order."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from convgym.agents.model.batch import TokenisedEpisode


def neighbours(episodes: Sequence[TokenisedEpisode], size: int) -> list[list[int]]:
    """Return indices in parts of ``size``, neighbours in length together: little padding."""
    ordered = sorted(range(len(episodes)), key=lambda i: len(episodes[i].ids))
    return [ordered[i : i + size] for i in range(0, len(ordered), size)]


def shuffled(n: int, generator: torch.Generator) -> list[int]:
    """Return 0 .. n - 1 in random order."""
    return torch.randperm(n, generator=generator, device=generator.device).tolist()
