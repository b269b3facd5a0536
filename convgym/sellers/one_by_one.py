"""Sellers that answer every conversation by itself: all that follow rules."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from convgym.conversation import Response
from convgym.policy import Conversation


class OneByOne(ABC):
    """A policy whose words in a conversation depend on that conversation alone.

    It is safe to use on any number of conversations at once.
    """

    def __init__(self, name: str) -> None:
        self._name, self._seed = name, 0

    @property
    def name(self) -> str:
        return self._name

    def reset(self, seed: int) -> None:
        """Keep the seed: what of a seller lasts for a conversation may be drawn by it.

        All other randomness comes from each conversation's own stream.
        """
        self._seed = seed

    def act(self, conversations: Sequence[Conversation]) -> list[Response]:
        """Return one response for each conversation."""
        return [Response(self._answer(conversation)) for conversation in conversations]

    @abstractmethod
    def _answer(self, conversation: Conversation) -> str:
        """Return what is said in one conversation."""
