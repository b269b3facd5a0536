"""All figures of a customer: hold what the plan says, and make sections of what was said."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from convgym.benchmarks.runs.result import MAX_EXCLUDED_SHARE
from convgym.benchmarks.validation.decisions import first_asked
from convgym.benchmarks.validation.encounters import COMPETENT, OFFHAND, Meeting, hold
from convgym.benchmarks.validation.realism.alignment import alignment
from convgym.benchmarks.validation.realism.consistency import consistency
from convgym.benchmarks.validation.realism.fidelity import (
    against_original,
    same_people,
    stage_figures,
)
from convgym.benchmarks.validation.realism.figures import Figure, Section, not_measured
from convgym.benchmarks.validation.realism.outcomes import repeated, stated
from convgym.benchmarks.validation.realism.plan import (
    AGAIN,
    BAD,
    COMPARED,
    EXAMINING,
    ORIGINAL,
    REPEATED,
    SELLERS,
    TALKS,
    Plan,
)
from convgym.benchmarks.validation.realism.reaction import reaction
from convgym.benchmarks.validation.realism.style import style
from convgym.conversation import Episode
from convgym.errors import ConvgymError
from convgym.logs import read_log
from convgym.progress import Progress, ProgressCallback, no_progress
from convgym.statistics import Array

Key = tuple[str, ...]
Held = Mapping[Key, Sequence[Meeting]]
Clusters = list[list[Episode]]

_TALKS = tuple((seller.name,) for seller in TALKS)


@dataclass(frozen=True, slots=True)
class Measured:
    """What was found: sections, and how many conversations failed and replies were given."""

    sections: tuple[Section, ...]
    replies: int
    failures: dict[str, int]


@dataclass(frozen=True, slots=True)
class Reference:
    """People's conversations, each for itself, and the name of their log."""

    name: str
    episodes: tuple[Episode, ...]

    @property
    def clusters(self) -> Clusters:
        return [[episode] for episode in self.episodes]


def read_reference(path: Path) -> Reference:
    """Return the conversations of a log that can be compared with.

    Raises ConvgymError for a file that is no log, and for less than two whole conversations.
    """
    episodes = [e for e in read_log(path).episodes if e.valid and e.turns]
    if len(episodes) < 2:
        raise ConvgymError(
            f"the reference {path} has {len(episodes)} whole conversations: at least 2 are needed"
            " (convgym logs import makes a log of chats)"
        )
    return Reference(path.name, tuple(episodes))


def measure(
    plan: Plan, reference: Reference | None = None, progress: ProgressCallback = no_progress
) -> Measured:
    """Hold the conversations of a plan and return the figures.

    A conversation whose backend failed counts for nothing; a section that lost more than
    ``MAX_EXCLUDED_SHARE`` of those of one seller is not measured.
    """
    held: dict[Key, list[Meeting]] = {}
    for each in plan.holds:

        def tell(news: Progress, key: Key = each.key) -> None:
            progress(replace(news, stage=" ".join(key)))

        held[each.key] = hold(each.subject, each.encounter, tell)
    failed = Counter(
        {
            " ".join(key): sum(not m.episode.valid for m in meetings)
            for key, meetings in held.items()
        }
    )
    replies = sum(1 + len(m.episode.turns) for meetings in held.values() for m in meetings)
    return Measured(_sections(plan, held, reference), replies, dict(+failed))


def _sections(plan: Plan, held: Held, reference: Reference | None) -> tuple[Section, ...]:
    theirs = None if reference is None else reference.clusters
    if theirs is None and plan.original is not None:
        theirs = _clusters(held, [(ORIGINAL, *key) for key in _TALKS])
    catalog, own = plan.subject.catalog, _clusters(held, _TALKS)
    every = [(seller.name,) for seller in SELLERS]
    sections = [
        _section("stages", "How near to buying are buyers and non-buyers, each for themselves?",
                 "2606.20708", held, _TALKS, lambda: stage_figures(own, theirs)),
        _section("deal-breakers", "Does it decide as its profile says?", "2605.08334", held, every,
                 lambda: alignment(_valid(held, every), catalog)),
        _section("bad seller", "Does it mind a seller that is bad on purpose?", "2602.16938", held,
                 [(COMPETENT.name,), (BAD.name,)],
                 lambda: reaction(_pairs(held, (COMPETENT.name,), (BAD.name,)))),
        _section("outcomes", "Are purchases as probable as they should be?", "2610.02460", held,
                 [key for key in held if REPEATED in key or key == (OFFHAND.name,)],
                 lambda: _outcomes(plan, held)),
        _section("style", "Does it speak as people do?", "2605.08334", held, _TALKS,
                 lambda: style(own, catalog, theirs)),
        _section("consistency", "Does it stand by what it said?", "2511.00222", held, every,
                 lambda: consistency(_valid(held, [(EXAMINING.name,)]),
                                     _valid(held, _TALKS), catalog)),
    ]  # fmt: skip
    if plan.original is not None:
        sections.insert(1, _beside_original(plan, held))
    return tuple(sections)


def _section(
    name: str,
    question: str,
    source: str,
    held: Held,
    keys: Sequence[Key],
    figures: Callable[[], Sequence[Figure]],
) -> Section:
    """Return a section of figures, or of what failed in place of them."""
    for key in keys:
        meetings = held[key]
        broken = sum(not meeting.episode.valid for meeting in meetings)
        if broken > MAX_EXCLUDED_SHARE * len(meetings):
            told = f"the backend failed in {broken} of {len(meetings)} conversations, {key[-1]}"
            return Section(name, question, f"arXiv {source}", (not_measured("all of it", told),))
    return Section(name, question, f"arXiv {source}", tuple(figures()))


def _beside_original(plan: Plan, held: Held) -> Section:
    keys = [key for key in held if key[0] in (ORIGINAL, AGAIN) and REPEATED not in key]
    pairs = _by_customer(held, ())
    again = _by_customer(held, (AGAIN,)) if any(key[0] == AGAIN for key in held) else None
    section = _section(
        "original", "Do the original's buyers and non-buyers each decide as they did?",
        "2606.20708", held, [*keys, *((seller.name,) for seller in COMPARED)],
        lambda: (same_people(_starts(held)), *against_original(pairs, again, plan.why_not_again)),
    )  # fmt: skip
    how = "with the original's profiles" if plan.by_profile else "by the same seeds"
    return replace(section, note=f"met {how}; beside it the original, met again with other chance")


def _starts(held: Held) -> list[tuple[Mapping[str, Any], Mapping[str, Any]]]:
    """Return both hidden states before the first word of a seller."""
    both = zip(held[ORIGINAL, COMPETENT.name], held[(COMPETENT.name,)], strict=True)
    return [(a.latents[0], b.latents[0]) for a, b in both if a.latents and b.latents]


def _by_customer(held: Held, prefix: Key) -> list[list[tuple[Episode, Episode]]]:
    """Return the original's conversations and others', with each customer by all sellers."""
    keys = [(ORIGINAL, seller.name) for seller in COMPARED]
    rows: list[list[tuple[Episode, Episode]]] = [[] for _ in held[keys[0]]]
    for key in keys:
        for row, first, other in zip(rows, held[key], held[(*prefix, key[-1])], strict=True):
            if first.episode.valid and other.episode.valid:
                row.append((first.episode, other.episode))
    return [row for row in rows if row]


def _outcomes(plan: Plan, held: Held) -> tuple[Figure, ...]:
    asked = first_asked(_valid(held, [(OFFHAND.name,)]))
    own, original = (_table(plan, held.get(key)) for key in ((REPEATED,), (ORIGINAL, REPEATED)))
    nothing = np.zeros((0, 0))
    if own is None or (plan.original is not None and original is None):
        why = plan.why or "a conversation of nearly every profile failed"
        return (*stated(asked), *repeated(nothing, None, why))
    if original is not None:
        whole = np.isfinite(own).all(1) & np.isfinite(original).all(1)
        return (*stated(asked), *repeated(own[whole], original[whole]))
    return (*stated(asked), *repeated(own[np.isfinite(own).all(1)], None))


def _table(plan: Plan, meetings: Sequence[Meeting] | None) -> Array | None:
    """Return who bought, (K, M) profiles and meetings; nan where the backend failed."""
    if meetings is None:
        return None
    bought = [float(m.episode.converted) if m.episode.valid else np.nan for m in meetings]
    return np.array(bought).reshape(plan.repeated, plan.meetings)


def _valid(held: Held, keys: Sequence[Key]) -> list[Meeting]:
    return [meeting for key in keys for meeting in held[key] if meeting.episode.valid]


def _clusters(held: Held, keys: Sequence[Key]) -> Clusters:
    """Return conversations by customer."""
    together = zip(*(held[key] for key in keys), strict=True)
    clusters = ([m.episode for m in meetings if m.episode.valid] for meetings in together)
    return [episodes for episodes in clusters if episodes]


def _pairs(held: Held, first: Key, second: Key) -> list[tuple[Episode, Episode]]:
    pairs = zip(held[first], held[second], strict=True)
    return [(a.episode, b.episode) for a, b in pairs if a.episode.valid and b.episode.valid]
