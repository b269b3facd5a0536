"""What the learning agents share: a language model to train, and runs that can be resumed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from convgym.agents.model.lora import LoRA, add_lora
from convgym.agents.model.policy import LanguageModelPolicy
from convgym.agents.training.run import Run, check_budget
from convgym.conversation import Response
from convgym.policy import Conversation
from convgym.shop.catalog import refuse_held_out


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
