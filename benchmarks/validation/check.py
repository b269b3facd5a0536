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
    says by ``own`` how many conversations that takes at most, given the subject's. One that a
    customer passes which never buys ``needs_sales``: its pass counts only if something was bought.
    """

    name: str
    question: str
    encounters: tuple[Encounter, ...]
    judge: Callable[[Evidence, Subject], Finding]
    own: Callable[[Subject], int] = lambda subject: 0
    needs_sales: bool = False
