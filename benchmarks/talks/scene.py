"""Where conversations are held, and with whom: what follows from the environment's options."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from convgym.conversation import FAILURES
from convgym.customers import customer_law
from convgym.envs.scenario import Scenario
from convgym.errors import InfrastructureError
from convgym.policy import Policy
from convgym.sellers import make_seller
from convgym.sellers.registry import check_own_options
from convgym.shop.catalog import Catalog, load_catalog
from convgym.shop.terms import briefing_under
from convgym.talk import Talk

_SEES_ALL = ("oracle", "oracle-v1")


@dataclass(frozen=True)
class Scene:
    """A shop and its customers.

    Args:
        environment: options of ``SalesEnv``.
    """

    environment: Mapping[str, Any]

    @property
    def customer(self) -> str:
        """What the customers are called."""
        return str(self.environment.get("customer", "scripted"))

    @cached_property
    def catalog(self) -> Catalog:
        """The shop; ConvgymError where there is no such one."""
        return load_catalog(self.shop.get("catalog", "laptops"))

    @cached_property
    def law(self) -> str | None:
        """By which law the customers buy (``customer_law``)."""
        return customer_law(self.environment)

    @cached_property
    def max_turns(self) -> int:
        """Turns after which a conversation ends; ConvgymError for options that cannot be."""
        return Scenario.of(self.environment).max_turns

    def check(self) -> None:
        """Raise ConvgymError for options of which no customer can be made."""
        for dialogue in Scenario.of(self.environment).dialogues(1):
            dialogue.close()

    @property
    def goal(self) -> str:
        """What a seller is after."""
        return f"a purchase, within {self.max_turns} turns"

    @property
    def briefing(self) -> str:
        """What a seller knows of the shop."""
        return briefing_under(self.law, self.catalog)

    @cached_property
    def shop(self) -> dict[str, Any]:
        """What a scripted seller must know: catalogue and law, as far as they are given."""
        known = {"catalog": Scenario.of(self.environment).shop(), "law": self.law}
        return {key: value for key, value in known.items() if value is not None}

    def seller(self, name: str, options: Mapping[str, Any] | None = None) -> Policy:
        """Return a seller of this shop by its name.

        Raises as ``make_seller``, and ConvgymError for options that follow from the customers.
        """
        check_own_options(options or {})
        return make_seller(name, **self.shop, **(options or {}))

    def talk(self, seed: int, seller: str) -> Talk:
        """Begin a conversation: an oracle is shown the customer's hidden state, and nobody else."""
        environment = {**self.environment, "reveal_latent": seller in _SEES_ALL}
        return Talk(seed, environment, policy_seed=seed)


def check_whole(talk: Talk) -> None:
    """Raise InfrastructureError if a conversation ended as a backend failed."""
    outcome = talk.outcome
    if outcome is not None and outcome in FAILURES:
        raise InfrastructureError(f"{FAILURES[outcome]} failed: {talk.failure}")
