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

    Where ``needs_sales``, a customer that never buys passes whatever is asked: a pass counts only of
    one that bought something from somebody. ``judge`` gets the check's encounters and the subject. A check that talks to customers itself
    says by ``own`` how many conversations that takes at most, given the subject's.
    """

    name: str
    question: str
    encounters: tuple[Encounter, ...]
    judge: Callable[[Evidence, Subject], Finding]
    own: Callable[[Subject], int] = lambda subject: 0
    needs_sales: bool = False
