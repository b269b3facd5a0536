"""One row of the results: what a job found, as data."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

from convgym.benchmarks.runs.conduct import Conduct
from convgym.benchmarks.runs.suites import Job
from convgym.conversation import Episode, Outcome
from convgym.statistics import Estimate, ratio_interval, wilson_interval
from convgym.suggestions import count_accepted

MAX_EXCLUDED_SHARE = 0.05
"""A row that lost more than this share of its episodes to a backend's failures is invalid.

Those of training count on their own: who learnt from fewer conversations had a smaller budget.
"""


_LETTERS: Mapping[Outcome, str] = {
    "purchase": "p",
    "walk_away": "w",
    "turn_limit": "t",
    "infrastructure_failure": "x",
    "seller_failure": "f",
}
NO_OUTCOME = "xf"
"""Letters of episodes that count neither as a sale nor as a loss."""


@dataclass(frozen=True)
class Result:
    """One row of ``results.jsonl``.

    ``outcomes`` holds a letter for each evaluation episode, in the order of the evaluation seeds
    and so comparable customer by customer: p purchase, w walk-away, t turn limit, x failure of
    the customer's backend, f failure of the seller's. ``turns`` is the mean length of the valid
    ones. ``acceptance`` is the share of suggestions that were sent verbatim or edited, None where
    nobody took suggestions.
    ``training_excluded`` of the training ``conversations`` broke on either side.
    ``start`` is the name of the row that an agent is compared with, its own start; None for
    others, and in rows of earlier versions, which had one start for all. ``training_turns`` are
    the customers' answers in training, ``branches`` the conversations there that went on from a
    copied customer, and ``notes`` what the agent says that a reader must know. ``cpu_seconds`` are
    those of processors in training, all threads together; None in rows of earlier versions.
    ``colder`` are the outcomes at a lower temperature, where the suite asks for them of a language
    model. ``conduct`` is None where the customer keeps no count of it. ``device`` and ``dtype``
    say where and how exactly a language model computed; None of others, and in earlier versions.
    """

    job: Job
    outcomes: str
    turns: float | None
    conversations: int = 0
    deployments: int = 0
    train_seconds: float = 0.0
    evaluation_seconds: float = 0.0
    acceptance: Estimate | None = None
    training_excluded: int = 0
    start: str | None = None
    training_turns: int = 0
    branches: int = 0
    notes: tuple[str, ...] = ()
    cpu_seconds: float | None = None
    colder: str | None = None
    conduct: Conduct | None = None
    device: str | None = None
    dtype: str | None = None

    @property
    def seconds(self) -> float:
        """What the job took, a training's earlier sittings included; not the colder evaluation."""
        return self.train_seconds + self.evaluation_seconds

    @property
    def conversions(self) -> int:
        return self.outcomes.count("p")

    @property
    def excluded(self) -> int:
        """Episodes that broke on the customer's side: neither a sale nor a loss."""
        return self.outcomes.count("x")

    @property
    def seller_failed(self) -> int:
        """Episodes in which the seller's backend failed: neither a sale nor a loss."""
        return self.outcomes.count("f")

    @property
    def episodes(self) -> int:
        """Episodes that count."""
        return count_valid(self.outcomes)

    @property
    def valid(self) -> bool:
        return (
            self.episodes > 0
            and len(self.outcomes) - self.episodes <= MAX_EXCLUDED_SHARE * len(self.outcomes)
            and self.training_excluded <= MAX_EXCLUDED_SHARE * self.conversations
        )

    def to_row(self) -> dict[str, Any]:
        """Return the row as plain data, derived numbers included for those who read the file."""
        interval, acceptance = wilson_interval(self.conversions, self.episodes), self.acceptance
        return {
            "kind": self.job.kind,
            "name": self.job.name,
            "seed": self.job.seed,
            "conversions": self.conversions,
            "episodes": self.episodes,
            "conversion": interval.value,
            "wilson95": [interval.low, interval.high],
            "conversations": self.conversations,
            "deployments": self.deployments,
            "turns": self.turns,
            "train_seconds": self.train_seconds,
            "evaluation_seconds": self.evaluation_seconds,
            "excluded": self.excluded,
            "seller_failed": self.seller_failed,
            "training_excluded": self.training_excluded,
            "valid": self.valid,
            "outcomes": self.outcomes,
            "acceptance": acceptance and acceptance.value,
            "acceptance95": acceptance and [acceptance.low, acceptance.high],
            **({} if self.start is None else {"start": self.start}),
            "training_turns": self.training_turns,
            "branches": self.branches,
            "notes": list(self.notes),
            **({} if self.cpu_seconds is None else {"cpu_seconds": self.cpu_seconds}),
            **({} if self.colder is None else {"colder": self.colder}),
            **({} if self.conduct is None else {"conduct": asdict(self.conduct)}),
            **({} if self.device is None else {"device": self.device, "dtype": self.dtype}),
        }

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Result:
        """Return a result from its row; what follows from the outcomes is computed anew."""
        acceptance = row.get("acceptance")  # rows of earlier versions lack the last twelve
        return cls(
            Job(row["kind"], row["name"], row["seed"]),
            row["outcomes"],
            row["turns"],
            row["conversations"],
            row["deployments"],
            row["train_seconds"],
            row["evaluation_seconds"],
            None if acceptance is None else Estimate(acceptance, *row["acceptance95"]),
            row.get("training_excluded", 0),
            row.get("start"),
            row.get("training_turns", 0),
            row.get("branches", 0),
            tuple(row.get("notes", ())),
            row.get("cpu_seconds"),
            row.get("colder"),
            Conduct.from_row(row.get("conduct")),
            row.get("device"),
            row.get("dtype"),
        )


def count_valid(outcomes: str) -> int:
    """Return how many of these outcome letters count."""
    return sum(letter not in NO_OUTCOME for letter in outcomes)


class Evaluation(NamedTuple):
    """What evaluation episodes say, as the fields of ``Result`` of the same names."""

    outcomes: str
    turns: float | None
    acceptance: Estimate | None
    conduct: Conduct | None = None


def evaluate(episodes: Sequence[Episode]) -> Evaluation:
    """Return the outcome letters, and turns, acceptance and conduct of the valid episodes."""
    valid = [episode for episode in episodes if episode.valid]
    turns = [len(episode.turns) for episode in valid]
    accepted = [count_accepted(episode) for episode in valid]
    acceptance = ratio_interval([k for k, _ in accepted], [n for _, n in accepted])
    return Evaluation(
        "".join(_LETTERS[episode.outcome] for episode in episodes),
        sum(turns) / len(turns) if turns else None,
        None if math.isnan(acceptance.value) else acceptance,
        Conduct.of(valid),
    )
