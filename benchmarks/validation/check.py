"""What a check is: encounters that it needs, and a judgement of what was said in them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from convgym.benchmarks.validation.encounters import Encounter, Evidence
from convgym.benchmarks.validation.subject import Subject
from convgym.benchmarks.validation.verdicts import Finding


@dataclass(frozen=True, slots=True)
class Check:
    """One point of the suite.

    ``judge`` gets the check's encounters and the subject. A check that talks to customers itself
    says by ``own`` how many conversations that takes at most, given the subject's.

    One of whose measures not to buy is enough has a ``control``: the same kind of seller, in the
    same words, who sells fairly. Only if that one sells to this customer does a pass count.
    """

    name: str
    question: str
    encounters: tuple[Encounter, ...]
    judge: Callable[[Evidence, Subject], Finding]
    own: Callable[[Subject], int] = lambda subject: 0
    control: Encounter | None = None

    @property
    def held(self) -> tuple[Encounter, ...]:
        """All encounters that the check takes, its control among them."""
        return self.encounters if self.control is None else (*self.encounters, self.control)
