"""The data every part shares: messages, turns and whole conversations."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypedDict

Outcome = Literal["purchase", "walk_away", "turn_limit", "infrastructure_failure"]
OUTCOMES: tuple[Outcome, ...] = ("purchase", "walk_away", "turn_limit", "infrastructure_failure")

MAX_UTTERANCE_CHARS = 2000
"""Longer utterances are cut here before anybody reads them."""

_SPEAKERS = {"user": "Customer", "assistant": "Seller"}
# Everything that could break the one-utterance-a-line format or a terminal: C0, DEL, C1, zero-width
# and bidirectional marks, line and paragraph separators, surrogates, non-characters.
_CONTROL = re.compile(
    "[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufffe\uffff\ud800-\udfff]"
)


class Message(TypedDict):
    """One chat message; the customer is ``"user"``, the seller ``"assistant"``."""

    role: Literal["user", "assistant"]
    content: str


@dataclass(frozen=True, slots=True)
class Response:
    """What a policy says in one turn.

    ``token_ids`` and ``token_logprobs`` (natural log, one per sampled token, under the
    distribution that was sampled) are kept when a language model spoke.
    """

    text: str
    token_ids: tuple[int, ...] | None = None
    token_logprobs: tuple[float, ...] | None = None

    @property
    def logprob(self) -> float | None:
        """Log-probability of the whole response, or None when no model spoke."""
        return None if self.token_logprobs is None else sum(self.token_logprobs)


@dataclass(frozen=True, slots=True)
class Turn:
    """A seller's response and the customer's reply to it: one environment step."""

    response: Response
    reply: str


@dataclass(frozen=True)
class Episode:
    """One finished conversation."""

    seed: int
    opening: str
    turns: tuple[Turn, ...]
    outcome: Outcome
    customer: str
    policy: str
    metadata: Mapping[str, Any] = field(default_factory=dict)

    @property
    def converted(self) -> bool:
        return self.outcome == "purchase"

    @property
    def valid(self) -> bool:
        """False when the customer's backend failed: such an episode counts for nothing."""
        return self.outcome != "infrastructure_failure"

    @property
    def reward(self) -> float:
        return float(self.converted)

    def messages(self, turns: int | None = None) -> list[Message]:
        """Return the conversation as chat messages, cut after ``turns`` turns if given."""
        messages: list[Message] = [{"role": "user", "content": self.opening}]
        for turn in self.turns[:turns]:
            messages.append({"role": "assistant", "content": turn.response.text})
            messages.append({"role": "user", "content": turn.reply})
        return messages


def clean(text: str) -> str:
    """Return ``text`` fit for one line: no control characters, single spaces, cut to size."""
    words = _CONTROL.sub(" ", text[: 4 * MAX_UTTERANCE_CHARS]).split()
    return " ".join(words)[:MAX_UTTERANCE_CHARS].rstrip()


_SENT = re.compile(r"\[sent: ([^\]]*)\] ?")
_SHOWN = 500
"""Characters of what was sent that a reply shows, so that there is room for the reply itself."""


def show_sent(sent: str, reply: str) -> str:
    """Return a reply to other words than the seller's: ``[sent: those words] the reply``."""
    return f"[sent: {sent[:_SHOWN].replace(']', ')')}] {reply}"


def as_said(messages: Sequence[Message]) -> Sequence[Message]:
    """Return the conversation as it was held: with what was sent in place of what was suggested."""
    if not any(message["content"].startswith("[sent: ") for message in messages):
        return messages
    said: list[Message] = []
    for message in messages:
        found = _SENT.match(message["content"]) if message["role"] == "user" else None
        if found and said:
            said[-1] = {"role": "assistant", "content": found[1]}
            message = {"role": "user", "content": message["content"][found.end() :]}
        said.append(message)
    return said


def render(messages: Sequence[Message]) -> str:
    """Return the conversation as text, one ``Customer: ...`` or ``Seller: ...`` line a message."""
    return "\n".join(f"{_SPEAKERS[message['role']]}: {message['content']}" for message in messages)
