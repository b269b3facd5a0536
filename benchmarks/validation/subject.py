"""The customer under test: how it is made, and what it lets us see and set."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from convgym.benchmarks.validation.limits import Limits
from convgym.customers import Customer, CustomerSpec, Reply, customer_law
from convgym.customers.base import is_snapshottable
from convgym.customers.concurrently import (
    close_now,
    is_concurrent,
    reset_now,
    reset_soon,
    respond_now,
    respond_soon,
)
from convgym.customers.together import Answer, respond_customers
from convgym.envs.scenario import Scenario
from convgym.errors import ConvgymError, InfrastructureError
from convgym.seeds import evaluation_seeds
from convgym.shop.catalog import Catalog, load_catalog


@dataclass(frozen=True)
class Subject:
    """A customer as the checks meet it.

    Args:
        customer: as for ``make_customer``, but not a customer object: many are needed at once.
        environment: options of ``SalesEnv`` apart from ``customer``.
        conversations: how many customers each seller meets.
        seed: of everything random.
        limits: where the checks' numbers should lie.

    Raises:
        ConvgymError: if the customer cannot be made.
    """

    customer: CustomerSpec
    environment: Mapping[str, Any] = field(default_factory=dict)
    conversations: int = 400
    seed: int = 0
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        if not isinstance(self.customer, (str, type)) and hasattr(self.customer, "respond"):
            raise ConvgymError(
                "a customer object holds one conversation at a time: validate its class"
            )
        if self.conversations < 1:
            raise ConvgymError(f"conversations must be at least 1, got {self.conversations!r}")
        assert self._sample  # made once, so that mistakes are told at once

    @cached_property
    def _sample(self) -> Customer:
        return self.make()

    @cached_property
    def scenario(self) -> Scenario:
        """The options of the conversations, the customer among them."""
        return Scenario.of({**self.environment, "customer": self.customer})

    def make(self) -> Customer:
        """Return a customer that has met nobody."""
        (dialogue,) = self.scenario.dialogues(1)
        return dialogue.customer

    def close(self) -> None:
        """Close the customer that was made to be looked at."""
        close_now(self._sample)

    @property
    def fingerprint(self) -> str:
        return self._sample.fingerprint

    @cached_property
    def law(self) -> str | None:
        """By which law the customer buys, if it says so (``convgym.customers.customer_law``)."""
        return customer_law({**self.environment, "customer": self.customer})

    @cached_property
    def seeds(self) -> list[int]:
        """Episode seeds: of evaluation, the same for every seller."""
        return evaluation_seeds(self.seed, self.conversations)

    @cached_property
    def catalog(self) -> Catalog:
        """What sellers believe to sell: the catalogue asked for, else the customer's own."""
        asked = self.environment.get("catalog")
        return load_catalog(asked or getattr(self._sample, "catalog", None) or "laptops")

    @property
    def max_turns(self) -> int:
        return self.scenario.max_turns

    @cached_property
    def takes_profile(self) -> bool:
        """Whether needs, budget and patience can be set: ``reset(seed, profile=...)``."""
        customer: Any = self._sample
        while hasattr(customer, "inner"):  # what is round it hands a profile on
            customer = customer.inner
        return "profile" in inspect.signature(customer.reset).parameters

    @cached_property
    def can_be_copied(self) -> bool:
        return is_snapshottable(self._sample)


class Profiled:
    """A customer whose profile is fixed as a function of the episode's seed.

    Copies are asked together, and so are the customers inside as far as they can be.
    """

    def __init__(self, inner: Customer, profile: Callable[[int], Mapping[str, Any]]) -> None:
        self.inner, self._profile = inner, profile

    @property
    def fingerprint(self) -> str:
        return self.inner.fingerprint

    @property
    def latent(self) -> dict[str, Any]:
        return self.inner.latent

    @property
    def batch_size(self) -> int | None:
        """How many conversations suit the customer inside, if it says so."""
        most: int | None = getattr(self.inner, "batch_size", None)
        return most

    def reset(self, seed: int) -> str:
        """Meet the customer of this seed, with the profile that is fixed for it."""
        return reset_now(self.inner, seed, profile=self._profile(seed))

    def respond(self, utterance: str) -> Reply:
        """Answer as the customer inside."""
        return respond_now(self.inner, utterance)

    @property
    def concurrent(self) -> bool:
        """Whether the customer inside is asked without waiting for it."""
        return is_concurrent(self.inner)

    async def reset_async(self, seed: int) -> str:
        """Do ``reset`` where the customer inside is concurrent."""
        return await reset_soon(self.inner, seed, profile=self._profile(seed))

    async def respond_async(self, utterance: str) -> Reply:
        """Do ``respond`` where the customer inside is concurrent."""
        return await respond_soon(self.inner, utterance)

    @classmethod
    def reset_together(
        cls, customers: Sequence[Profiled], seeds: Sequence[int]
    ) -> list[str | InfrastructureError]:
        """Reset one after the other: profiles are set one by one."""
        openings: list[str | InfrastructureError] = []
        for customer, seed in zip(customers, seeds, strict=True):
            try:
                openings.append(customer.reset(seed))
            except InfrastructureError as error:
                openings.append(error)
        return openings

    @classmethod
    def respond_together(
        cls, customers: Sequence[Profiled], utterances: Sequence[str]
    ) -> list[Answer]:
        """Let the customers inside answer together."""
        return respond_customers([customer.inner for customer in customers], utterances)

    def close(self) -> None:
        """Close the customer inside if it can be closed."""
        close_now(self.inner)
