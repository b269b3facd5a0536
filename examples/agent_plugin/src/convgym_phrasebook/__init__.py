"""An agent that learns when to say which phrase: Monte Carlo control on a small table.

State s: how much of the customer's need is unknown, whether the best product is on the table,
whether a worry was voiced, whether the last answer was a refusal. Act a: a kind of phrase. The
value Q(s, a) is the share of purchases among the training conversations in which a was said in s
(Sutton & Barto 2018, section 5.3). While it learns, it draws every value from its Beta posterior
and says what looks best (Thompson sampling); afterwards it goes by the posteriors' means.
"""

from __future__ import annotations

import json
import random
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from convgym.agents import TrainingReport
from convgym.agents.training.collector import Collector
from convgym.conversation import Episode, Response
from convgym.errors import ConvgymError
from convgym.policy import Conversation
from convgym.progress import Progress, ProgressCallback, no_progress
from convgym.sellers.knowledge import Act, Notes, SellerKnowledge
from convgym.shop.catalog import load_catalog

ACTS = ("ask", "recommend", "answer", "ask_concern", "close", "push")


@dataclass(frozen=True, slots=True)
class PhrasebookConfig:
    """Settings, each with a default: ``--set phrasebook.deployments=16`` changes one."""

    catalog: str = "laptops"
    """What it sells."""
    deployments: int = 8
    """Batches of conversations; the table changes between them."""
    prior: float = 0.5
    """Purchases, and conversations without, that every phrase is credited with beforehand."""

    def __post_init__(self) -> None:
        if self.deployments < 1 or self.prior <= 0:
            raise ConvgymError(
                "a phrasebook needs at least 1 deployment and a prior above 0, got"
                f" {self.deployments} and {self.prior}"
            )


class Phrasebook:
    """Monte Carlo control over kinds of phrases.

    A table Q(s, a) holds the share of purchases among the conversations in which the phrase a was
    said in the state s; see Sutton & Barto 2018, section 5.3. It explores by Thompson sampling.
    """

    Config = PhrasebookConfig

    def __init__(self, config: PhrasebookConfig, name: str) -> None:
        self.config, self.name = config, name
        self.shop = SellerKnowledge(load_catalog(config.catalog))
        self.table: dict[str, list[int]] = {}  # "state act" -> times said, times sold
        self.said: dict[int, list[str]] | None = None  # by customer, while it learns

    def reset(self, seed: int) -> None:
        """Do nothing: all that is random comes from each conversation's own stream."""

    def act(self, conversations: Sequence[Conversation]) -> list[Response]:
        """Say what sold most often in this state; while it learns, what may turn out to."""
        return [self._respond(conversation) for conversation in conversations]

    def train(
        self,
        collector: Collector,
        *,
        folder: Path | None = None,
        progress: ProgressCallback = no_progress,
    ) -> TrainingReport:
        """Deploy, count, deploy again. Too quick for checkpoints: it starts anew if interrupted."""
        deployments = min(self.config.deployments, collector.budget)
        self.table = {}
        for deployment in range(1, deployments + 1):
            self.said = defaultdict(list)
            end = collector.budget * deployment // deployments
            episodes = collector.deploy(self, end - collector.usage.conversations)
            self._learn([episode for episode in episodes if episode.valid], self.said)
            metrics = {"conversion": collector.curve[-1].conversion}
            progress(Progress("train", collector.usage.conversations, collector.budget, metrics))
        self.said = None
        curve = tuple(collector.curve)
        rows = tuple({"conversion": point.conversion} for point in curve)
        return TrainingReport(collector.usage, collector.seconds, curve, rows)

    def save(self, folder: Path) -> None:
        """Write the table to ``folder``."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "table.json").write_text(json.dumps(self.table, indent=1), encoding="utf-8")

    def load(self, folder: Path) -> None:
        """Read a table that ``save`` wrote; ConvgymError where there is none."""
        try:
            self.table = json.loads((folder / "table.json").read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise ConvgymError(f"{folder} holds no phrasebook: {error}") from None

    def _respond(self, conversation: Conversation) -> Response:
        notes, rng = self.shop.note(conversation.messages), conversation.rng
        state = self._state(notes)
        drawn_by = None if self.said is None else rng
        kind = max(ACTS, key=lambda act: self._value(f"{state} {act}", drawn_by))
        if self.said is not None:
            self.said[conversation.seed].append(f"{state} {kind}")
        return Response(self.shop.say((self._act(kind, notes, rng),), rng))

    def _state(self, notes: Notes) -> str:
        offered = notes.product is self.shop.best(notes)
        worried, refused = notes.worry is not None, notes.refused
        return f"{len(notes.unknown_topics())}{offered:d}{worried:d}{refused:d}"

    def _act(self, kind: str, notes: Notes, rng: random.Random) -> Act:
        topics = notes.unknown_topics()
        if kind == "ask":
            return Act(f"ask_{topics[0] if topics else 'concern'}")
        if kind == "recommend":
            return Act("recommend", self.shop.best(notes))
        if kind == "answer":
            return Act(f"answer_{notes.worry or 'price'}")
        return Act(kind)

    def _value(self, key: str, rng: random.Random | None) -> float:
        said, sold = self.table.get(key, (0, 0))
        sales, losses = sold + self.config.prior, said - sold + self.config.prior
        return rng.betavariate(sales, losses) if rng else sales / (sales + losses)

    def _learn(self, episodes: Sequence[Episode], said: Mapping[int, Sequence[str]]) -> None:
        for episode in episodes:
            for key in set(said[episode.seed]):
                times, sold = self.table.get(key, (0, 0))
                self.table[key] = [times + 1, sold + episode.converted]
