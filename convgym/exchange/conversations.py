"""Conversations on their way out: messages, an id and an outcome, as other formats hold them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from convgym.conversation import Episode, Message, Response, Turn, clean


@dataclass(frozen=True, slots=True)
class Conversation:
    """An episode for others; what nobody said (see ``spoken``) is not among its messages."""

    id: str
    messages: tuple[Message, ...]
    outcome: str
    policy: str
    episode: Episode

    def row(self, messages: str, role: str, text: str, names: dict[str, str]) -> dict[str, Any]:
        """Return the conversation as a JSON object with these names of fields and roles."""
        said = [
            {role: names[message["role"]], text: message["content"]} for message in self.messages
        ]
        return {"id": self.id, messages: said, "outcome": self.outcome, "policy": self.policy}


def conversations(episodes: Iterable[Episode]) -> list[Conversation]:
    """Return episodes as conversations with ids that differ: their original ones, or numbers."""
    made: dict[str, Conversation] = {}
    for number, episode in enumerate(episodes, start=1):
        original = episode.metadata.get("original_id")
        id = original if isinstance(original, str) and original else str(number)
        attempt = 2
        while id in made:
            id, attempt = f"{original or number}#{attempt}", attempt + 1
        tidy = _tidy(episode)
        made[id] = Conversation(id, spoken(tidy), episode.outcome, episode.policy, tidy)
    return list(made.values())


def _tidy(episode: Episode) -> Episode:
    """Return an episode whose texts are clean, as those of ``SalesEnv`` are anyway."""
    turns = tuple(
        Turn(Response(clean(turn.response.text)), clean(turn.reply)) for turn in episode.turns
    )
    return replace(episode, opening=clean(episode.opening), turns=turns)


def spoken(episode: Episode) -> tuple[Message, ...]:
    """Return an episode's messages without an opening and a last reply that have no words."""
    messages = episode.messages()
    if not messages[0]["content"]:
        messages = messages[1:]
    if messages and messages[-1]["role"] == "user" and not messages[-1]["content"]:
        messages = messages[:-1]
    return tuple(messages)
