"""What measuring a customer takes: which sellers it meets, and so does the original."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from convgym.benchmarks.validation.encounters import (
    COMPETENT,
    MEDIOCRE,
    OFFHAND,
    TOO_DEAR,
    WRONG_USE,
    Encounter,
)
from convgym.benchmarks.validation.realism.sellers import bad, examining
from convgym.benchmarks.validation.realism.subjects import (
    TrainingSubject,
    carried_over,
    fixed,
    profiles,
)
from convgym.benchmarks.validation.sellers import reference
from convgym.benchmarks.validation.subject import Subject
from convgym.errors import ConvgymError
from convgym.seeds import train_seeds

BAD = Encounter("bad", bad)
EXAMINING = Encounter("examining", examining)
TALKS = (COMPETENT, MEDIOCRE)
"""The sellers with whom style and stages are measured: one good, one as logs are written by."""

SELLERS = (*TALKS, BAD, TOO_DEAR, WRONG_USE, OFFHAND, EXAMINING)
COMPARED = (*TALKS, BAD)
"""The sellers that an original and its imitation both meet."""

MEETINGS = 8
"""How often a profile is met."""

REPEATED, ORIGINAL, AGAIN = "repeated", "original", "original again"


@dataclass(frozen=True, slots=True)
class Hold:
    """One seller to be met, by whom, and the name under which the conversations are kept."""

    key: tuple[str, ...]
    subject: Subject
    encounter: Encounter


@dataclass(frozen=True)
class Plan:
    """All that is to be held.

    ``meetings`` of each of ``repeated`` profiles are held, 0 where that cannot be; ``why`` says
    why, and ``why_not_again`` why the original cannot be met again with other chance.
    ``by_profile`` tells whether the imitation was given the original's profiles.
    """

    subject: TrainingSubject
    original: Subject | None
    holds: tuple[Hold, ...]
    repeated: int
    meetings: int
    why: str = ""
    why_not_again: str = ""
    by_profile: bool = False

    @property
    def conversations(self) -> int:
        return sum(len(hold.subject.seeds) for hold in self.holds)

    @property
    def replies(self) -> int:
        """Of customers, openings included, if no conversation ends before the turn limit."""
        return sum(len(h.subject.seeds) * (h.subject.max_turns + 1) for h in self.holds)


_NO_PROFILE = "it takes no profile, or none can be read of it"
_NOT_THEIRS = "it does not take the original's profiles"


def make_plan(subject: TrainingSubject, original: TrainingSubject | None = None) -> Plan:
    """Return what measuring a customer takes, beside its original if there is one.

    Raises ConvgymError if the two do not sell the same things.
    """
    if original is not None:
        if original.catalog != subject.catalog:
            raise ConvgymError(
                f"the original sells {original.catalog.name} and the customer"
                f" {subject.catalog.name}: give --catalog"
            )
        subject = replace(subject, like=original)
    leader = original or subject
    n = subject.conversations
    times = min(MEETINGS, max(2, n // 2))
    many = max(2, n // times)
    seeds = train_seeds(subject.seed, 2 * n + many * times)
    chance, later = tuple(seeds[n : 2 * n]), tuple(seeds[2 * n :])
    theirs = profiles(leader, seeds[:many]) if leader.takes_profile else None
    again = None
    holds = [Hold((seller.name,), subject, seller) for seller in SELLERS]
    taken = None
    if original is not None:
        given = profiles(original, seeds[:n])
        taken = carried_over(subject, seeds[:n], given)
        if taken is not None:
            by_seed = fixed(seeds[:n], taken)
            holds = [replace(h, encounter=replace(h.encounter, profile=by_seed)) for h in holds]
        holds += [Hold((ORIGINAL, seller.name), original, seller) for seller in COMPARED]
        again = given if original.takes_profile else None
        if again is not None:
            holds += _again(original, chance, again)
    holds += _repeated(subject, original, later, times, theirs)
    again_and_again = any(hold.key == (REPEATED,) for hold in holds)
    return Plan(
        subject,
        original,
        tuple(holds),
        many if again_and_again else 0,
        times if again_and_again else 0,
        "" if again_and_again else _NOT_THEIRS if original and theirs else _NO_PROFILE,
        ""
        if again is not None or original is None
        else f"the original cannot be met again, {_NO_PROFILE}",
        taken is not None,
    )


def _again(
    original: TrainingSubject, chance: tuple[int, ...], given: Sequence[dict[str, object]]
) -> list[Hold]:
    """Return the original's meetings with its own profiles and other chance."""
    other = replace(original, chosen=chance)
    by_seed = fixed(chance, given)
    return [
        Hold((AGAIN, seller.name), other, replace(seller, profile=by_seed)) for seller in COMPARED
    ]


def _repeated(
    subject: TrainingSubject,
    original: TrainingSubject | None,
    seeds: tuple[int, ...],
    times: int,
    theirs: Sequence[dict[str, object]] | None,
) -> list[Hold]:
    """Return the meetings of the same profiles again and again; none where that cannot be."""
    if theirs is None or not subject.takes_profile:
        return []
    given = [profile for profile in theirs for _ in range(times)]
    if original is None:
        return [Hold((REPEATED,), *_fixed(subject, seeds, given))]
    own = carried_over(subject, seeds, given)
    if own is None:
        return []
    return [
        Hold((REPEATED,), *_fixed(subject, seeds, own)),
        Hold((ORIGINAL, REPEATED), *_fixed(original, seeds, given)),
    ]


def _fixed(
    subject: TrainingSubject, seeds: tuple[int, ...], given: Sequence[dict[str, object]]
) -> tuple[TrainingSubject, Encounter]:
    seller = Encounter(REPEATED, reference("mediocre"), fixed(seeds, given))
    return replace(subject, chosen=seeds), seller
