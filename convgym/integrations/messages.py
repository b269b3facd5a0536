"""A conversation as chat messages, waited for: the shape in which other libraries meet customers.

All doors stand on this file. It needs no package but ours.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from gymnasium.error import ResetNeeded

from convgym.checks import check_seed
from convgym.envs.dialogue import Dialogue
from convgym.envs.scenario import Scenario
from convgym.errors import ConvgymError, InfrastructureError
from convgym.llm.base import ChatMessage
from convgym.seeds import evaluation_seeds, train_seeds
from convgym.sellers.prompt import briefed


def customer_seeds(n: int, seed: int = 0, *, evaluation: bool = False) -> list[int]:
    """Return ``n`` episode seeds: customers to train with, or those reserved for evaluation."""
    return evaluation_seeds(seed, n) if evaluation else train_seeds(seed, n)


def system_message(dialogue: Dialogue, prompt: str | None = None) -> ChatMessage:
    """Return what the seller in this shop is told.

    Args:
        dialogue: with the customer, who may have a catalogue.
        prompt: see ``convgym.sellers.prompt.seller_prompt``.
    """
    return {
        "role": "system",
        "content": briefed(getattr(dialogue.customer, "briefing", ""), prompt),
    }


def chat_messages(dialogue: Dialogue, system: ChatMessage) -> list[ChatMessage]:
    """Return the conversation so far behind a system message, as data of the caller's own."""
    said: list[ChatMessage] = [
        {"role": message["role"], "content": message["content"]} for message in dialogue.messages
    ]
    return [{**system}, *said]


def purchase(dialogue: Dialogue) -> float | None:
    """Return the reward of a conversation, None if a backend failed: neither sale nor loss."""
    return None if dialogue.failure is not None else dialogue.reward


def require_customer(dialogue: Dialogue) -> None:
    """Raise InfrastructureError if the customer's backend has failed."""
    if dialogue.failure is not None:
        raise InfrastructureError(dialogue.failure)


def words(message: Mapping[str, Any] | str) -> str:
    """Return what a chat message says: its text, or that of its text parts.

    Raises ConvgymError for what is no message of a seller.
    """
    if isinstance(message, str):
        return message
    role = message.get("role") if isinstance(message, Mapping) else None
    content = message.get("content") if role == "assistant" else None
    if isinstance(content, str):
        return content
    if isinstance(content, (list, tuple)) and all(isinstance(part, Mapping) for part in content):
        return "".join(str(part.get("text", "")) for part in content if part.get("type") == "text")
    raise ConvgymError(
        "a seller's message must be a text or {'role': 'assistant', 'content': ...}, got"
        f" {repr(message)[:60]}"
    )


@dataclass(frozen=True, slots=True)
class MessageStep:
    """What a turn led to; the names are those of Tinker's cookbook."""

    next_messages: list[ChatMessage]
    """The conversation so far, the system message first."""
    reward: float
    """1.0 if the customer has bought in this turn, else 0.0."""
    episode_done: bool
    metrics: dict[str, float] = field(default_factory=dict)
    """At the end ``purchase``, ``walk_away``, ``turn_limit`` (0.0 or 1.0) and ``turns``."""
    logs: dict[str, str | int | float] = field(default_factory=dict)
    """At the end ``outcome``, ``episode_seed`` and ``customer``, its fingerprint."""
    next_stop_condition: None = None
    """Nothing but what the model itself ends with."""


class MessageEnv:
    """A conversation with one customer, for sellers who wait.

    Customers answer in a thread of this conversation's own, so that as many can be waited for at
    once as there are conversations.

    Args:
        episode_seed: whom the seller meets, see ``convgym.seeds``.
        prompt: the seller's system message, see ``convgym.sellers.prompt.seller_prompt``.
        **options: of ``convgym.envs.sales.SalesEnv``.

    Raises:
        ConvgymError: for a mistake in these.
    """

    def __init__(self, episode_seed: int, *, prompt: str | None = None, **options: Any) -> None:
        self.episode_seed = check_seed(episode_seed)
        (self.dialogue,) = Scenario.of(options).dialogues(1)
        self._system = system_message(self.dialogue, prompt)
        self._thread = ThreadPoolExecutor(1, "convgym-customer")

    @property
    def messages(self) -> list[ChatMessage]:
        """The conversation so far, the system message first, as data of the caller's own."""
        return chat_messages(self.dialogue, self._system)

    async def initial_observation(self) -> list[ChatMessage]:
        """Meet the customer and return what it is told and what it says.

        Raises InfrastructureError if the customer's backend fails.
        """
        await self._wait(self.dialogue.reset, self.episode_seed)
        return self.messages

    async def step(self, message: Mapping[str, Any] | str) -> MessageStep:
        """Say the text of a message to the customer and return what that led to.

        Raises:
            ConvgymError: for what is no message of a seller.
            InfrastructureError: if the customer's backend fails: neither a sale nor a loss.
            gymnasium.error.ResetNeeded: where there is no conversation to continue.
        """
        dialogue = self.dialogue
        try:
            await self._wait(dialogue.step, words(message))
        except ResetNeeded:
            raise ResetNeeded(
                "there is no conversation to continue: await initial_observation() before step()"
            ) from None
        if dialogue.outcome is None:
            return MessageStep(self.messages, 0.0, False)
        endings = ("purchase", "walk_away", "turn_limit")
        metrics = {ending: float(dialogue.outcome == ending) for ending in endings}
        return MessageStep(
            self.messages,
            dialogue.reward,
            True,
            {**metrics, "turns": float(dialogue.turn)},
            {
                "outcome": dialogue.outcome,
                "episode_seed": self.episode_seed,
                "customer": dialogue.fingerprint,
            },
        )

    async def _wait(self, call: Callable[..., None], *arguments: Any) -> None:
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._thread, call, *arguments)
        require_customer(self.dialogue)

    def close(self) -> None:
        """Let the customer and its thread go; a conversation that is over needs no more."""
        self._thread.shutdown(wait=False)
        self.dialogue.close()
