"""What the learning agents share: a language model that acts, is saved and is loaded."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from convgym.agents.model.config import PolicyConfig
from convgym.agents.model.language_model import LanguageModel
from convgym.agents.model.policy import LanguageModelPolicy
from convgym.agents.training.collector import Collector
from convgym.agents.training.run import Run
from convgym.conversation import Response
from convgym.errors import ConvgymError
from convgym.policy import Conversation


class AgentConfig(Protocol):
    """What every agent's config holds."""

    @property
    def policy(self) -> PolicyConfig:
        """The language model that is trained."""


class LanguageModelAgent:
    """The part of the ``Agent`` protocol that is the same for all: act, save and load.

    Attributes:
        policy: the language model as a seller.

    Raises:
        ConvgymError: when the model that ``config.policy`` names cannot be loaded.
    """

    def __init__(self, config: AgentConfig, name: str) -> None:
        self.config = config
        self._name = name
        self.load(config.policy.model)

    @property
    def name(self) -> str:
        return self._name

    @property
    def model(self) -> LanguageModel:
        """The language model as algorithms use it."""
        return self.policy.model

    @property
    def batch_size(self) -> int:
        """Conversations that are held together."""
        return self.policy.batch_size

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
        self.policy = LanguageModelPolicy.from_pretrained(
            folder, name=self._name, config=self.config.policy
        )

    def start_run(self, collector: Collector, folder: Path | None) -> Run:
        """Open the books of ``train``'s run; ConvgymError for a folder of another run."""
        if not isinstance(collector, Collector):
            raise ConvgymError(f"train takes a Collector, got {repr(collector)[:60]}")
        if not isinstance(folder, str | Path | None):
            raise ConvgymError(f"folder must be a path, got {repr(folder)[:60]}")
        folder = None if folder is None else Path(folder)
        return Run(collector, folder, agent=self.name, config=self.config)
