"""Who is met, and with which profile: the customer, and the original that it imitates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, is_dataclass
from functools import cached_property
from typing import Any, Protocol, cast

from convgym.benchmarks.validation.encounters import Profile
from convgym.benchmarks.validation.subject import Subject
from convgym.customers import Customer
from convgym.errors import ConvgymError, InfrastructureError
from convgym.seeds import train_seeds
from convgym.shop.catalog import Catalog

PROFILE = ("need", "feature", "budget", "objections", "patience")
"""What is read of a hidden state as a profile where the customer has no ``profile`` of its own."""

_FEW = 8
"""Customers that are looked at to see which profiles an imitation has and takes."""


class _TakesProfile(Protocol):
    def reset(self, seed: int, profile: Mapping[str, Any] | None = None) -> str: ...


@dataclass(frozen=True)
class TrainingSubject(Subject):
    """A customer as realism meets it: on seeds of the training range.

    Nobody who learns is judged here, so that customers kept for judging are spared.

    Args:
        chosen: these episode seeds, in place of those of ``seed``.
        like: the original, whose sellers it meets; None for those of its own law and shop.
    """

    chosen: tuple[int, ...] | None = None
    like: Subject | None = None

    @cached_property
    def seeds(self) -> list[int]:
        """Episode seeds: of training, the same for every seller."""
        return list(self.chosen or train_seeds(self.seed, self.conversations))

    @cached_property
    def law(self) -> str | None:
        """By which law customers buy, as the sellers take it."""
        return super().law if self.like is None else self.like.law

    @cached_property
    def catalog(self) -> Catalog:
        """What sellers believe to sell."""
        return super().catalog if self.like is None else self.like.catalog


def profile_of(customer: Customer, seed: int) -> dict[str, Any] | None:
    """Return the profile of the customer of a seed, ready for ``reset(seed, profile=...)``.

    None where none can be read, or the customer's backend fails. Patience is that at the start,
    which may be more than the profile's.
    """
    try:
        customer.reset(seed)
    except InfrastructureError:
        return None
    own, latent = getattr(customer, "profile", None), customer.latent
    if is_dataclass(own) and not isinstance(own, type):
        profile = asdict(own)
    else:
        profile = {name: latent[name] for name in PROFILE if name in latent}
    if "patience" in profile and isinstance(latent.get("patience_left"), int | float):
        profile["patience"] = latent["patience_left"]
    return profile or None


def profiles(subject: Subject, seeds: Sequence[int]) -> list[dict[str, Any]] | None:
    """Return the profiles of the customers of these seeds; None where one cannot be read."""
    customer = subject.make()
    read = []
    for seed in seeds:
        profile = profile_of(customer, seed)
        if profile is None:
            return None
        read.append(profile)
    return read


def fixed(seeds: Sequence[int], given: Sequence[Mapping[str, Any]]) -> Profile:
    """Return how an encounter gives the customer of each seed the profile in the same place."""
    by_seed = dict(zip(seeds, given, strict=True))
    return lambda catalog, seed: by_seed[seed]


def carried_over(
    imitation: Subject, seeds: Sequence[int], given: Sequence[Mapping[str, Any]] | None
) -> list[dict[str, Any]] | None:
    """Return the original's profiles as the imitation takes them; None to meet it by seed alone.

    By seed alone are met those that take no profile, those whose profiles already are the
    original's, and those that refuse one of the first few. A field that the imitation does not have
    is left out.
    """
    if given is None or not imitation.takes_profile:
        return None
    own = profiles(imitation, seeds[:_FEW]) or []
    known = set(own[0]) if own else set(given[0])
    taken = [{k: v for k, v in profile.items() if k in known} for profile in given]
    pairs = list(zip(own, taken[:_FEW], strict=False))
    if pairs and all({k: mine[k] for k in theirs} == theirs for mine, theirs in pairs):
        return None
    customer = cast(_TakesProfile, imitation.make())
    try:
        for seed, profile in zip(seeds[:_FEW], taken, strict=False):
            customer.reset(seed, profile=profile)
    except (ConvgymError, InfrastructureError):
        return None
    return taken
