"""Sampling tokens: the distribution, one draw from it, and what came out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor

from convgym.agents.model.format import Tokens
from convgym.checks import check_fields
from convgym.errors import ConvgymError

_COLDEST = 1e-12


def check_temperature(temperature: float) -> None:
    """Raise ConvgymError for a temperature, positive, at which numbers vanish or overflow."""
    if not _COLDEST <= temperature <= 1 / _COLDEST:
        raise ConvgymError(
            f"temperature must be from {_COLDEST} to {1 / _COLDEST}, got {temperature!r}"
        )


@dataclass(frozen=True, slots=True)
class SamplingConfig:
    """How a policy speaks: what training must know of sampling.

    Raises:
        ConvgymError: for a temperature or length that is not positive.
    """

    temperature: float = 1.0
    max_new_tokens: int = 32
    """Longest response in tokens, its end token included."""

    def __post_init__(self) -> None:
        check_fields(self, counts=("max_new_tokens",), positive=("temperature",))
        check_temperature(self.temperature)


@dataclass(frozen=True, slots=True)
class Sample:
    """A sampled response and the log-probability of each of its tokens."""

    token_ids: Tokens
    token_logprobs: tuple[float, ...]


def token_logprobs(logits: Tensor, forbidden: Tensor, temperature: float) -> Tensor:
    """Return the log-probabilities (..., V) of the distribution that is sampled.

    Sampling and training both use this function, so that their log-probabilities agree.

    Args:
        logits: (..., V), of any floating type.
        forbidden: (F,) ids that are never sampled.
        temperature: positive; divides the logits.
    """
    logits = logits.float() / temperature
    return torch.log_softmax(logits.index_fill(-1, forbidden, -torch.inf), dim=-1)


def draw(logprobs: Tensor, uniform: Tensor) -> Tensor:
    """Return one id (B,) per row of log-probabilities (B, V), by inversion of the distribution.

    Args:
        logprobs: of the ids.
        uniform: (B,) random numbers in [0, 1), float64.
    """
    # There are no such numbers on Apple's GPUs.
    precise = torch.float32 if logprobs.device.type == "mps" else torch.float64
    cumulative = logprobs.to(precise).exp().cumsum(-1)
    height = uniform[:, None].to(logprobs.device, precise) * cumulative[:, -1:]
    # The first entry above the drawn number: never one of zero width, hence never a forbidden one.
    return torch.searchsorted(cumulative, height, right=True)[:, 0]


@dataclass(frozen=True, slots=True)
class CommonNumbers:
    """The same random numbers for the branches of every response.

    So what is drawn for a response depends on nothing beside it, and responses to one state differ
    by what they say alone (common random numbers).
    """

    table: Tensor
    """(branches of a response, steps) in [0, 1), float64."""

    @classmethod
    def of(cls, seed: int, branches: int, steps: int) -> CommonNumbers:
        """Return the numbers that follow from a seed."""
        generator = torch.Generator().manual_seed(seed)
        return cls(uniforms(branches * steps, generator).view(branches, steps))


Randomness: TypeAlias = torch.Generator | CommonNumbers


def numbers_for(branches: Tensor, step: int, source: Randomness) -> Tensor:
    """Return a random number (N,) in [0, 1), float64, for each branch (N,) at a step."""
    if isinstance(source, CommonNumbers):
        return source.table[branches.cpu() % len(source.table), step]
    return uniforms(len(branches), source)


def uniforms(n: int, generator: torch.Generator) -> Tensor:
    """Return ``n`` random numbers in [0, 1), float64, from the generator's own device, the CPU."""
    return torch.rand(n, dtype=torch.float64, generator=generator, device=generator.device)


def samples(tokens: Tensor, logprobs: Tensor, counts: Tensor) -> list[Sample]:
    """Return the first ``counts`` (B,) of tokens (B, T) and their log-probabilities (B, T)."""
    rows = zip(tokens.tolist(), logprobs.tolist(), counts.tolist(), strict=True)
    return [Sample(tuple(row[:count]), tuple(score[:count])) for row, score, count in rows]
