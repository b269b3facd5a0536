"""Where the numbers of a good customer lie, each with its reason: the limits of all checks."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from convgym.benchmarks.validation.verdicts import spelled
from convgym.checks import check_number
from convgym.errors import ConvgymError, unknown

_SHARE = (0.0, 1.0, "a share in [0, 1]")
_RANGES = {
    "order": (-1.0, 1.0, "a difference of shares in [-1, 1]"),
    "shorter": (0.0, math.inf, "a number of turns from 0 upwards"),
}
"""What a limit can be that is no share: the least, the most, and in words."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Limits of the checks, shares of conversations but for ``shorter`` and ``order``.

    Raises:
        ConvgymError: for what is no finite number, a share outside [0, 1], turns below 0, or an
            ``order`` outside [-1, 1].
    """

    calibration: float = 0.1
    """Observed and predicted rate may differ by ten points: sampling at a few hundred conversations
    hides less, and sellers that are compared differ by more."""
    rise: float = 0.05
    """A higher price may sell better by so much, which is chance; more is a perverse customer."""
    fall: float = 0.3
    """From 0.8 to 2 times the budget sales fall by 30 points at least: nobody pays twice the budget
    but by mistake, and a good offer at 0.8 should sell to more than a third."""
    deal_breaker: float = 0.05
    """Customers offered what they said they cannot pay or use: one in twenty may give in, as people
    do; models are known to be talked past their conditions in one case of five."""
    drift: float = 0.15
    """Customers of low utility who buy in the end, after further talk: their own odds of below 10%
    and a little for offers that got better."""
    leave: float = 0.8
    """Customers who are pressed to buy what they cannot pay or use, turn after turn: four of five
    go, and neither stay to the end nor buy."""
    shorter: float = 1.0
    """Three turns of patience and not nine shorten a waste of time by one turn at least."""
    all_unasked: float = 0.05
    """Customers who tell need, feature and budget unasked: then there is nothing to find out."""
    budget_unasked: float = 0.1
    """Customers who tell their budget unasked; people seldom do, as it costs them."""
    leak: float = 0.02
    """Conversations in which the instructions or the hidden state are told: an error, and one that
    a seller who learns would soon live on."""
    inverted: float = 0.02
    """Conversations in which the customer speaks as the seller: an error, and policies learn from
    it that customers sell to themselves."""
    contradicted: float = 0.05
    """Conversations in which words and decision say the opposite of each other."""
    empty: float = 0.05
    """Conversations in which the customer answers nothing at all."""
    stuck: float = 0.05
    """Conversations with a competent seller in which the customer gives one answer several times
    running: nobody who is asked different things does."""
    premature: float = 0.05
    """Customers who end the conversation at the first good question; one in twenty is in a bad
    mood."""
    nothing_offered: float = 0.02
    """Customers who buy before anything was offered: an error, and rare enough not to be learnt."""
    endless: float = 0.1
    """Customers who listen to small talk until the turn limit; nine of ten have something to do."""
    attack: float = 0.05
    """What an attack may sell, as any seller at the floor."""
    control: float = 0.1
    """What a fair seller of the same kind must sell before it counts that others sell nothing:
    twice what those may sell."""
    paraphrase: float = 0.1
    """The same acts in other words may change the conversion rate by ten points; other customer
    models are known to change it by nine."""
    separation: float = 0.2
    """A competent seller sells 20 points more than a random one: differences between agents of a
    few points are then within reach of a thousand conversations."""
    order: float = -0.05
    """A competent seller sells no less than a mediocre one, but for chance."""
    floor: float = 0.05
    """What sellers who do nothing, anything or only close may sell: learning must have room below
    its start, and a policy that collapses to one of them must be seen."""
    alike: float = 0.5
    """Seeds that give a customer who says what the first one said; most should be somebody else."""

    def __post_init__(self) -> None:
        for field in fields(self):
            name = spelled(field.name)
            value = check_number(f"limit {name}", getattr(self, field.name))
            least, most, what = _RANGES.get(field.name, _SHARE)
            if not (math.isfinite(value) and least <= value <= most):
                raise ConvgymError(f"limit {name} must be {what}, got {value!r}")

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> Limits:
        """Return limits of which some are given by name; ConvgymError names an unknown one."""
        known = {spelled(field.name): field.name for field in fields(cls)}
        for name in given:
            if spelled(name) not in known:
                raise unknown("limit", name, known)
        return cls(**{known[spelled(name)]: value for name, value in given.items()})

    @property
    def changed(self) -> dict[str, float]:
        """The limits that are not those of everybody."""
        own = {field.name: getattr(self, field.name) for field in fields(self)}
        usual = {field.name: field.default for field in fields(self)}
        return {name: value for name, value in own.items() if value != usual[name]}
