"""What the learning agents share: a language model to train, and runs that can be resumed."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import torch

from convgym.agents.batch import Batch, TokenisedEpisode, collate
from convgym.agents.language_model import LanguageModelPolicy
from convgym.agents.lora import LoRA, add_lora
from convgym.agents.protocol import CurvePoint, TrainingReport
from convgym.catalog import refuse_held_out
from convgym.conversation import Episode, Response
from convgym.errors import ConvgymError, InfrastructureError
from convgym.policy import Conversation


class ModelConfig(Protocol):
    """What every agent's config says of its language model."""

    @property
    def model(self) -> str: ...
    @property
    def temperature(self) -> float: ...
    @property
    def max_new_tokens(self) -> int: ...
    @property
    def briefing(self) -> str | None: ...
    @property
    def lora(self) -> LoRA | None: ...


class LanguageModelAgent:
    """The part of the ``Agent`` protocol that is the same for all: act, save and load.

    Raises ConvgymError when the model that ``config`` names cannot be loaded.
    """

    def __init__(self, config: Any, name: str) -> None:
        self.config = config
        self._name = name
        self.load(config.model)

    @property
    def name(self) -> str:
        return self._name

    def reset(self, seed: int) -> None:
        """Seed the sampling of words."""
        self.policy.reset(seed)

    def act(self, conversations: Sequence[Conversation]) -> list[Response]:
        """Sample one response for each conversation."""
        return self.policy.act(conversations)

    def save(self, folder: Path) -> None:
        """Write model and tokenizer to ``folder`` in Hugging Face format."""
        self.policy.save(folder)

    def load(self, folder: Path | str) -> None:
        """Read a model that ``save`` wrote; ConvgymError when there is none."""
        config: ModelConfig = self.config
        self.policy = LanguageModelPolicy.from_pretrained(
            folder,
            name=self._name,
            temperature=config.temperature,
            max_new_tokens=config.max_new_tokens,
            briefing=config.briefing,
        )
        if config.lora:
            add_lora(self.policy.model, config.lora)

    def start_run(
        self,
        conversations: int,
        seed: int,
        environment: Mapping[str, Any] | None,
        folder: Path | None,
    ) -> Run:
        """Open the books of ``train``'s run.

        Raises ConvgymError for a bad budget, another's folder or a catalogue that is reserved for
        evaluation.
        """
        check_budget(conversations)
        refuse_held_out(environment)
        return Run(
            folder,
            agent=self.name,
            config=self.config,
            seed=seed,
            conversations=conversations,
            environment=environment,
        )


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


def neighbours(episodes: Sequence[TokenisedEpisode], size: int) -> list[list[int]]:
    """Return indices in parts of ``size``, neighbours in length together: little padding."""
    ordered = sorted(range(len(episodes)), key=lambda i: len(episodes[i].ids))
    return [ordered[i : i + size] for i in range(0, len(ordered), size)]


def batches(episodes: Sequence[TokenisedEpisode], size: int, pad_id: int) -> list[Batch]:
    """Return episodes in batches of ``size``, neighbours in length together."""
    parts = neighbours(episodes, size)
    return [collate([episodes[i] for i in part], pad_id) for part in parts]


def shuffled(n: int, generator: torch.Generator) -> list[int]:
    """Return 0 .. n - 1 in random order."""
    return torch.randperm(n, generator=generator).tolist()


def check_budget(conversations: int) -> None:
    """Raise ConvgymError unless the budget is positive."""
    if conversations < 1:
        raise ConvgymError(f"the budget must be at least 1 conversation, got {conversations}")
