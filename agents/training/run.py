"""The books of one training run, and its checkpoints."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from convgym.agents.protocol import CHECKPOINT, TrainingReport
from convgym.agents.training.checkpoint import load_checkpoint, save_checkpoint
from convgym.agents.training.collector import Collector
from convgym.errors import ConvgymError


class Run:
    """The books of one training run: its metrics, and its checkpoints with the collector's books.

    Args:
        collector: what meets customers; goes on where the checkpoint's stood. One that keeps no
            conversations yet keeps them in the run's folder.
        folder: where checkpoints go; None for none.
        identity: what must be equal for a checkpoint to be this run's, beside the collector's
            seed, budget, environment and log.

    Attributes:
        rows: metrics, a row an update or round.
        state: what ``save`` was last given, or None for a run that starts.

    Raises:
        ConvgymError: when the folder holds the checkpoint of another run, or a damaged one.
    """

    def __init__(self, collector: Collector, folder: Path | None, **identity: Any) -> None:
        self.collector = collector
        self.rows: list[Mapping[str, float]] = []
        self.state: dict[str, Any] | None = None
        self._file = folder / CHECKPOINT if folder else None
        self._identity = json.dumps(
            {
                **identity,
                **collector.identity(),
            },
            sort_keys=True,
            default=_plain,
        )
        if folder and collector.folder is None:
            collector.folder = folder / "conversations"
        if self._file and self._file.exists():
            kept = load_checkpoint(self._file)
            if kept.get("identity") != self._identity:
                raise ConvgymError(
                    f"{folder} holds the checkpoint of another run: expected {self._identity}, "
                    f"found {kept.get('identity')}; use another folder or delete it"
                )
            collector.load_state(kept["collector"])
            self.rows, self.state = kept["rows"], kept["state"]

    def save(self, state: dict[str, Any]) -> None:
        """Write a checkpoint: the books and ``state``; an interruption leaves the last one."""
        self.state = state
        if self._file is None:
            return
        save_checkpoint(
            self._file,
            {
                "identity": self._identity,
                "collector": self.collector.state(),
                "rows": self.rows,
                "state": state,
            },
        )

    def report(self, notes: tuple[str, ...] = ()) -> TrainingReport:
        """Return what the run cost and how it went, with notes for those who read the result."""
        collector = self.collector
        return TrainingReport(
            usage=collector.usage,
            seconds=collector.seconds,
            curve=tuple(collector.curve),
            rows=tuple(self.rows),
            notes=(*collector.notes, *notes),
        )


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    if isinstance(value, Path):
        return str(value)
    # Addresses change from process to process.
    return re.sub(r" at 0x[0-9a-fA-F]+", "", repr(value))
