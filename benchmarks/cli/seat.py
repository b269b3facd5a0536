"""A person's seat at the counter: the commands of ``convgym chat``, colours, line editing."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from convgym.benchmarks.terminal import console, printable
from convgym.conversation import Response
from convgym.policy import Conversation, Policy
from convgym.sellers.human import Command

if TYPE_CHECKING:
    from convgym.agents.pipeline.opinion import Opinion

_STYLES = {"Customer:": "green", "Seller:": "cyan"}

HELP = """Type what you say to the customer, a line a turn. A line that begins with / is not said:
  /hint      what the competent seller would say now
  /q TEXT    what Q makes of TEXT before you say it
  /help      this
  /quit      end the program"""
NO_Q = (
    "no Q was given: make one by convgym collect log.jsonl --policy default and convgym fit-q"
    " log.jsonl --policy default --output q, then convgym chat --q q --policy default"
)


def tell(text: str) -> None:
    """Print lines of a conversation and about it, speakers in their colours on a terminal."""
    from rich.text import Text

    screen = console()
    for line in printable(text).split("\n"):
        speaker = line.partition(" ")[0]
        style = _STYLES.get(speaker, "dim")
        screen.print(Text(line, style=style), soft_wrap=True)


def edit_lines() -> None:
    """Let ``input`` edit lines and remember them, where this Python has readline."""
    with suppress(ImportError):
        import readline  # noqa: F401


def commands(competent: Policy, opinion: Opinion | None) -> dict[str, Command]:
    """Return the commands of a person who sells.

    Args:
        competent: what ``/hint`` asks.
        opinion: what ``/q`` asks; None says how to make one.
    """

    def hint(words: str, conversation: Conversation) -> str:
        # Another stream of random words: a hint leaves the conversation as it was.
        asked = replace(conversation, rng=random.Random(conversation.seed), latent=None)
        (response,) = competent.act([asked])
        return response.text

    def value(words: str, conversation: Conversation) -> str:
        if opinion is None:
            return NO_Q
        if not words:
            return "expected the words that you are about to say: /q What is your budget?"
        hinted = hint("", conversation)
        yours, theirs = opinion.values(conversation, [words, hinted])
        return (
            f"Q {yours:.2f}: so likely, it thinks, a purchase is in the end if you say that;"
            f" {theirs:.2f} for the hint ({hinted})"
        )

    return {
        "hint": lambda words, conversation: f"hint: {hint(words, conversation)}",
        "q": value,
        "help": lambda words, conversation: HELP,
    }


@dataclass
class Watched:
    """A policy whose conversation is kept in sight.

    Only the oracle is shown the customer's hidden state; others are as if nobody watched.
    """

    policy: Policy
    sees_latent: bool
    conversation: Conversation | None = None

    @property
    def name(self) -> str:
        return self.policy.name

    def reset(self, seed: int) -> None:
        self.policy.reset(seed)

    def act(self, conversations: Sequence[Conversation]) -> list[Response]:
        """Let the policy speak."""
        (self.conversation,) = conversations
        shown = self.conversation
        return self.policy.act([shown if self.sees_latent else replace(shown, latent=None)])

    @property
    def latent(self) -> Mapping[str, object]:
        """The customer's hidden state as it is now; empty before the first turn."""
        return (self.conversation and self.conversation.latent) or {}
