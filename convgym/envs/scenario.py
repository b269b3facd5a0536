"""What a conversation is held under: the options that every environment shares."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from convgym.checks import check_flag, check_integer, check_patience, check_probability
from convgym.customers import CUSTOMERS, CustomerSpec, make_customer
from convgym.envs.dialogue import REWARDS, Dialogue
from convgym.errors import ConvgymError, unknown

if TYPE_CHECKING:
    from convgym.customers.personas import Personas
    from convgym.shop.catalog import Catalog


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """Options of the environments, described in ``SalesEnv``.

    ``catalog``, ``persona``, ``patience`` and ``personas`` go to the customer's factory where they
    are given; None leaves the choice to the customer. ``customer_options`` go there as well.

    Raises:
        ConvgymError: if ``max_turns`` is not a positive integer, ``patience`` no positive number,
            ``noise`` not in [0, 1], ``reveal_latent`` no bool or the ``reward`` unknown, or
            ``customer_options`` are not options by name or give again what is given already.
    """

    customer: CustomerSpec = "scripted"
    catalog: str | Path | Catalog | None = None
    persona: str | None = None
    patience: float | None = None
    personas: str | Path | Personas | None = None
    customer_options: Mapping[str, Any] | None = None
    max_turns: int = 12
    noise: float = 0.0
    reward: str = "purchase"
    reveal_latent: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "max_turns", check_integer("max_turns", self.max_turns, 1))
        object.__setattr__(self, "noise", check_probability("noise", self.noise))
        object.__setattr__(self, "reveal_latent", check_flag("reveal_latent", self.reveal_latent))
        if self.reward not in REWARDS:
            raise unknown("reward", self.reward, REWARDS)
        self._customer_options()

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> Scenario:
        """Return the scenario with these options; ConvgymError names one that is unknown."""
        known = [field.name for field in fields(cls)]
        if not isinstance(options, Mapping):
            raise ConvgymError(f"an environment must be options by name, got {repr(options)[:60]}")
        for name in options:
            if name not in known:
                raise unknown("environment option", name, known)
        return cls(**options)

    def dialogues(self, n: int) -> list[Dialogue]:
        """Return ``n`` dialogues, each with a customer of its own.

        Raises ConvgymError if the customer cannot be made, or if there is only one for several
        conversations.
        """
        options = self._customer_options()
        customers = [make_customer(self.customer, **options) for _ in range(n)]
        if len(set(map(id, customers))) < n:
            raise ConvgymError(
                f"{n} conversations at once need a customer each, but customer= gives the same"
                " object again: pass its class or another factory"
            )
        return [
            Dialogue(customer, self.max_turns, self.noise, self.reward) for customer in customers
        ]

    def shop(self) -> str | Path | Catalog | None:
        """Return the catalogue of these customers, None for the one that is everybody's default.

        It is the one that was asked for, or else the one that customers of one's own bring along
        (their attribute ``catalog``): a customer is made to see.
        """
        asked = self._customer_options().get("catalog")
        spec = self.customer
        ours = isinstance(spec, str) and spec in CUSTOMERS.shipped.keys() - {"suggested"}
        if asked is not None or ours:
            return asked
        (dialogue,) = self.dialogues(1)
        brought = getattr(dialogue.customer, "catalog", None)
        if dialogue.customer is not spec:
            dialogue.close()
        return brought if hasattr(brought, "products") else None

    def _customer_options(self) -> dict[str, Any]:
        options = {
            name: value
            for name in ("catalog", "persona", "patience", "personas")
            if (value := getattr(self, name)) is not None
        }
        more = {} if self.customer_options is None else self.customer_options
        if not isinstance(more, Mapping) or not all(isinstance(name, str) for name in more):
            raise ConvgymError(f"customer_options must be options by name, got {more!r}")
        for name in more:
            if name in options:
                raise ConvgymError(f"{name!r} is given twice, also in customer_options: drop one")
        options |= more
        if "patience" in options:
            options["patience"] = check_patience(options["patience"])
        return options


def customer_fingerprint(options: Mapping[str, Any]) -> str:
    """Return the fingerprint of the customer of an environment's options, who is made for it."""
    scenario = Scenario.of(options)
    (dialogue,) = scenario.dialogues(1)
    try:
        return dialogue.fingerprint
    finally:
        if dialogue.customer is not scenario.customer:  # the caller's own stays open
            dialogue.close()
