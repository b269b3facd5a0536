"""What customers that a chat model speaks for have in common: how they are asked.

Where the model answers requests one by one, as endpoints do (``AsyncBackend``), each conversation
waits for its own answers alone (``Concurrent``); a model that computes in this process is asked for
all of them together (``Batched``).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, Self, cast

from convgym.customers.base import Reply
from convgym.customers.llm.exchange import Exchange, ask, ask_soon, ask_together, open_backend
from convgym.errors import InfrastructureError
from convgym.llm import ChatBackend
from convgym.llm.base import AsyncBackend


class ChatCustomer(ABC):
    """Speaks through a chat model, alone or together with its like (``Batched``).

    Args:
        backend: a chat model, or one by name, which is made here and closed here.
        options: of a backend by name.

    Raises:
        ConvgymError: for a mistake in these (``open_backend``).
    """

    def __init__(self, backend: str | ChatBackend, options: Mapping[str, Any]) -> None:
        self.backend = open_backend(backend, options)
        self._made = isinstance(backend, str)

    @abstractmethod
    def _open(self, seed: int, profile: Mapping[str, Any] | None = None) -> Exchange[str]:
        """Become the customer of a seed, and return its opening words."""

    @abstractmethod
    def _hear(self, utterance: str) -> Exchange[Reply]:
        """Answer the seller."""

    def reset(self, seed: int, profile: Mapping[str, Any] | None = None) -> str:
        """Draw a new customer and return its opening.

        Args:
            seed: profile and sampling follow from it.
            profile: fields of ``Profile`` to fix; the others are drawn.

        Raises:
            ConvgymError: for a field that is unknown or a value that it cannot have.
            InfrastructureError: if the model fails.
        """
        return ask(self.backend, self._open(seed, profile))

    def respond(self, utterance: str) -> Reply:
        """Answer the seller.

        Raises InfrastructureError if the model fails; the customer is as before the turn then.
        """
        return ask(self.backend, self._hear(utterance))

    @property
    def concurrent(self) -> bool:
        """Whether the chat model answers requests one by one, as they come."""
        return isinstance(self.backend, AsyncBackend)

    async def reset_async(self, seed: int, profile: Mapping[str, Any] | None = None) -> str:
        """Do ``reset``, if ``concurrent``."""
        return await ask_soon(cast("AsyncBackend", self.backend), self._open(seed, profile))

    async def respond_async(self, utterance: str) -> Reply:
        """Do ``respond``, if ``concurrent``."""
        return await ask_soon(cast("AsyncBackend", self.backend), self._hear(utterance))

    @classmethod
    def reset_together(
        cls, customers: Sequence[Self], seeds: Sequence[int]
    ) -> list[str | InfrastructureError]:
        """Do ``reset`` for each, with one call of the model for all."""
        exchanges = [each._open(seed) for each, seed in zip(customers, seeds, strict=True)]
        return ask_together([each.backend for each in customers], exchanges)

    @classmethod
    def respond_together(
        cls, customers: Sequence[Self], utterances: Sequence[str]
    ) -> list[Reply | InfrastructureError]:
        """Do ``respond`` for each, with one call of the model for all."""
        exchanges = [each._hear(said) for each, said in zip(customers, utterances, strict=True)]
        return ask_together([each.backend for each in customers], exchanges)

    def close(self) -> None:
        """Close the chat model, unless it was brought along."""
        if self._made:
            self.backend.close()
