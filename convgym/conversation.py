"""The data every part shares: messages, turns and whole conversations."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypedDict

from convgym.errors import InfrastructureError

Outcome = Literal["purchase", "walk_away", "turn_limit", "infrastructure_failure", "seller_failure"]
OUTCOMES: tuple[Outcome, ...] = (
    "purchase",
    "walk_away",
    "turn_limit",
    "infrastructure_failure",
    "seller_failure",
)
FAILURES: Mapping[Outcome, str] = {
    "infrastructure_failure": "the customer",
    "seller_failure": "the seller",
}
"""Outcomes that are neither a sale nor a loss, and whose backend failed."""

MAX_UTTERANCE_CHARS = 2000
"""Longer utterances are cut here before anybody reads them."""

_SPEAKERS = {"user": "Customer", "assistant": "Seller"}
# What nobody sees but programs read, removed without a trace: control and format characters
# (Unicode's Cc and Cf: zero-width and bidirectional marks, joiners, the soft hyphen, tag letters),
# all others that Unicode wants ignored where they cannot be shown, surrogates, non-characters.
# Blanks among the control characters (\t, \n, ...) are not in here: they part words.
_INVISIBLE = re.compile(
    "[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\xad\u034f\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891"
    "\u08e2\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufe00-\ufe0d"
    "\ufdd0-\ufdef\ufeff\ufff0-\ufffb\ud800-\udfff"
    "\U000110bd\U000110cd\U00013430-\U0001343f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a"
    "\U000e0000-\U000e0fff"
    + "".join(chr(plane << 16 | low) for plane in range(17) for low in (0xFFFE, 0xFFFF))
    + "]"
)
# The two variation selectors that choose between text and picture stay behind what has both.
_STRAY_SELECTOR = re.compile(
    "(?<![#*0-9\xa9\xae\u203c\u2049\u2100-\u2bff\u3030\u303d\u3297\u3299\U0001f000-\U0001faff])"
    "[\ufe0e\ufe0f]"
)
# Letters and symbols that look like blanks.
_LOOKS_BLANK = re.compile("[\u2800\u3164\uffa0]")


class Message(TypedDict):
    """One chat message; the customer is ``"user"``, the seller ``"assistant"``."""

    role: Literal["user", "assistant"]
    content: str


@dataclass(frozen=True, slots=True)
class Response:
    """What a policy says in one turn.

    ``token_ids`` and ``token_logprobs`` (natural log, one per sampled token, under the
    distribution that was sampled) are kept when a language model spoke.

    ``failure`` says why the backend of the policy gave no words: that conversation ends as a
    ``"seller_failure"``, nothing is said in it, and the others go on. Most policies never set it.
    """

    text: str
    token_ids: tuple[int, ...] | None = None
    token_logprobs: tuple[float, ...] | None = None
    failure: str | None = None

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
    """One finished conversation.

    ``leaflet`` is what the seller could read of the shop (``Catalog.leaflet``). Logs do not keep
    it; a collector, who knows the shop, puts it back.
    """

    seed: int
    opening: str
    turns: tuple[Turn, ...]
    outcome: Outcome
    customer: str
    policy: str
    metadata: Mapping[str, Any] = field(default_factory=dict)
    leaflet: str = field(default="", compare=False, repr=False)

    @property
    def converted(self) -> bool:
        return self.outcome == "purchase"

    @property
    def valid(self) -> bool:
        """False when a backend failed, the customer's or the seller's: it counts for nothing."""
        return self.outcome not in FAILURES

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


def refuse_if_all_failed(episodes: Sequence[Episode]) -> None:
    """Raise InfrastructureError, with who failed and the first reason, if no episode is valid."""
    if not episodes or any(episode.valid for episode in episodes):
        return
    reason = episodes[0].metadata.get("failure", "no reason given")
    who = who_failed(episode.outcome for episode in episodes)
    raise InfrastructureError(f"{who} failed in all of {len(episodes)} conversations: {reason}")


def who_failed(outcomes: Iterable[str]) -> str:
    """Return whose backends failed, of episodes that ended so: "the seller", say."""
    ended = set(outcomes)
    return " or ".join(who for outcome, who in FAILURES.items() if outcome in ended)


def tell_failures(outcomes: Iterable[str]) -> str:
    """Return how many episodes, that ended so, were broken off, and who failed; "" if none was."""
    counts = Counter(outcomes)
    return ", ".join(
        f"{counts[outcome]} broken off: {who} failed"
        for outcome, who in FAILURES.items()
        if counts[outcome]
    )


def clean(text: str) -> str:
    """Return ``text`` fit for one line: nothing invisible, single spaces, cut to size.

    White space of any kind and length becomes one space. Invisible characters vanish without one,
    so that no word falls apart; joiners (U+200C, U+200D) are among them, since a reader that sees
    them reads other words than a person does. A family emoji becomes its members side by side.
    """
    size = 4 * MAX_UTTERANCE_CHARS
    while True:
        line = _one_line(text[:size])
        # Long blanks take no room: read on until the line is full.
        if len(line) >= MAX_UTTERANCE_CHARS or size >= len(text):
            return line[:MAX_UTTERANCE_CHARS].rstrip()
        size *= 4


def without_invisible(text: str) -> str:
    """Return ``text`` without the characters that nobody sees but programs read."""
    return _STRAY_SELECTOR.sub("", _INVISIBLE.sub("", text))


def _one_line(text: str) -> str:
    if not (text.isascii() and text.isprintable()):
        text = _LOOKS_BLANK.sub(" ", without_invisible(text))
    return " ".join(text.split())


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
        sent = _SENT.match(message["content"]) if message["role"] == "user" else None
        if sent and said:
            said[-1] = {"role": "assistant", "content": sent[1]}
            message = {"role": "user", "content": message["content"][sent.end() :]}
        said.append(message)
    return said


def render(messages: Sequence[Message]) -> str:
    """Return the conversation as text, one ``Customer: ...`` or ``Seller: ...`` line a message."""
    return "\n".join(f"{_SPEAKERS[message['role']]}: {message['content']}" for message in messages)
