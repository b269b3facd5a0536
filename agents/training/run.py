"""The books of one training run, and its checkpoints."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from convgym.agents.protocol import CurvePoint, TrainingReport
from convgym.conversation import Episode
from convgym.errors import ConvgymError, InfrastructureError


class Run:
    """The books of one training run: its curve, its metrics, its clock and its checkpoints.

    Args:
        folder: where checkpoints go; None for none.
        identity: what must be equal for a checkpoint to be this run's: agent, config, seed,
            budget and environment.

    Raises:
        ConvgymError: when the folder holds the checkpoint of another run.
    """

    def __init__(self, folder: Path | None, **identity: Any) -> None:
        self._file = folder / "checkpoint.pt" if folder else None
        self._identity = json.dumps(identity, sort_keys=True, default=_plain)
        self.conversations = 0
        self.deployments = 0
        self.curve: list[CurvePoint] = []
        self.rows: list[Mapping[str, float]] = []
        self.state: dict[str, Any] | None = None
        """What ``save`` was last given, or None for a run that starts."""
        self._seconds_before = 0.0
        self._started = time.monotonic()
        if self._file and self._file.exists():
            kept = torch.load(self._file, weights_only=False)
            if kept["identity"] != self._identity:
                raise ConvgymError(
                    f"{folder} holds the checkpoint of another run: expected {self._identity}, "
                    f"found {kept['identity']}; use another folder or delete it"
                )
            self.conversations, self.deployments = kept["conversations"], kept["deployments"]
            self.curve, self.rows = kept["curve"], kept["rows"]
            self.state, self._seconds_before = kept["state"], kept["seconds"]

    @property
    def seconds(self) -> float:
        """Seconds of training, over all interruptions."""
        return self._seconds_before + time.monotonic() - self._started

    def deployed(self, episodes: Sequence[Episode]) -> float:
        """Enter a deployment into the curve and return its conversion rate.

        Raises:
            InfrastructureError: when the customer failed in every conversation.
        """
        valid = [episode for episode in episodes if episode.valid]
        if not valid:
            reason = episodes[0].metadata.get("failure", "no reason given")
            raise InfrastructureError(
                f"the customer failed in all of {len(episodes)} conversations: {reason}"
            )
        rate = sum(episode.converted for episode in valid) / len(valid)
        self.curve.append(
            CurvePoint(self.conversations, self.deployments, rate, len(valid), self.seconds)
        )
        self.conversations += len(episodes)
        self.deployments += 1
        return rate

    def save(self, state: dict[str, Any]) -> None:
        """Write a checkpoint: the books and ``state``; an interruption leaves the last one."""
        self.state = state
        if self._file is None:
            return
        self._file.parent.mkdir(parents=True, exist_ok=True)
        unfinished = self._file.with_suffix(".tmp")
        torch.save(
            {
                "identity": self._identity,
                "conversations": self.conversations,
                "deployments": self.deployments,
                "curve": self.curve,
                "rows": self.rows,
                "seconds": self.seconds,
                "state": state,
            },
            unfinished,
        )
        os.replace(unfinished, self._file)

    def report(self) -> TrainingReport:
        """Return what the run cost and how it went."""
        return TrainingReport(
            self.conversations,
            self.deployments,
            self.seconds,
            tuple(self.curve),
            tuple(self.rows),
            excluded=self.conversations - sum(point.episodes for point in self.curve),
        )


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    # Addresses change from process to process.
    return re.sub(r" at 0x[0-9a-fA-F]+", "", repr(value))


def check_budget(conversations: int) -> None:
    """Raise ConvgymError unless the budget is positive."""
    if conversations < 1:
        raise ConvgymError(f"the budget must be at least 1 conversation, got {conversations}")
