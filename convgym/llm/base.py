"""What a chat model is to those who ask it: requests in, texts or failures out, many at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeAlias, TypedDict, runtime_checkable

from convgym.checks import check_number
from convgym.errors import ConvgymError, InfrastructureError


class ChatMessage(TypedDict):
    """A message as chat models know it: here ``"assistant"`` is the model, whomever it plays."""

    role: Literal["system", "user", "assistant"]
    content: str


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """One call of a chat model, complete in itself: equal requests are the same request."""

    messages: tuple[ChatMessage, ...]
    """The instruction first, with the role ``"system"``; the model answers the last one."""
    seed: int
    """Of sampling, for models that take one."""
    max_tokens: int = 200
    temperature: float = 1.0
    schema: Mapping[str, Any] | None = None
    """JSON schema of the answer, which backends that can do so enforce; None asks for free text."""


@dataclass(frozen=True, slots=True)
class ChatAnswer:
    """What a chat model said, and what it cost.

    ``reasoning`` is what it thought, where that came apart from the text, and is never part of the
    answer; ``cut`` tells that the text ended at ``max_tokens``.
    """

    text: str
    prompt_tokens: int = 0
    completion_tokens: int = 0
    reasoning: str = ""
    cut: bool = False


ChatResult: TypeAlias = ChatAnswer | InfrastructureError
"""An answer, or why there is none after all attempts."""


class ChatBackend(Protocol):
    """A chat model somewhere: behind an endpoint, in this process, or in a recording."""

    @property
    def fingerprint(self) -> str:
        """Model and settings that change answers; never a secret."""

    def complete(self, requests: Sequence[ChatRequest]) -> list[ChatResult]:
        """Answer all requests together, in their order.

        A request that fails for good has its InfrastructureError in the list; the others are
        answered all the same. Raises ConvgymError for a user's mistake, such as a missing key.
        """

    def close(self) -> None:
        """Give back connections and files; closing twice does no harm."""


@runtime_checkable
class EagerBackend(ChatBackend, Protocol):
    """A backend that hands out answers as they come, and not all at the end."""

    def as_answered(self, requests: Sequence[ChatRequest]) -> Iterator[tuple[int, ChatResult]]:
        """Yield place and result of each request, in any order.

        An error that ``complete`` would raise is raised after the results that there are.
        """


@runtime_checkable
class AsyncBackend(ChatBackend, Protocol):
    """A backend that answers single requests, any number of them at once, without blocking."""

    async def complete_async(self, request: ChatRequest) -> ChatResult:
        """Answer one request; raises as ``complete``."""


@dataclass(frozen=True, slots=True)
class Continuation:
    """A text, not empty, and what comes before it, not empty either."""

    before: str
    text: str


@runtime_checkable
class ScoringBackend(Protocol):
    """A model that tells how likely given texts are."""

    @property
    def fingerprint(self) -> str:
        """Model and settings that change what is told."""

    def log_probabilities(self, texts: Sequence[Continuation]) -> list[float]:
        """Return for each text the mean log-probability of its tokens after what is before it.

        In nats a token. What else is asked for beside it changes it by no more than rounding.
        """


def check_sampling(temperature: float, max_tokens: int, **counts: int) -> None:
    """Raise ConvgymError unless a model can be asked so.

    Args:
        temperature: a finite number from 0 upwards.
        max_tokens: an integer from 1 upwards.
        **counts: further integers by name, from 0 upwards.
    """
    expected = "a number from 0 upwards"
    if check_number("temperature", temperature, expected) < 0:
        raise ConvgymError(f"temperature must be {expected}, got {temperature!r}")
    for name, value, least in (
        ("max_tokens", max_tokens, 1),
        *((name, value, 0) for name, value in counts.items()),
    ):
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise ConvgymError(f"{name} must be an integer of {least} or more, got {value!r}")
