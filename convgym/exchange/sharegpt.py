"""The ShareGPT format: ``{"conversations": [{"from": "human", "value": "..."}, ...]}``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from convgym.exchange.conversations import Conversation
from convgym.exchange.json_rows import write_json_rows
from convgym.exchange.shapes import Shape

SHAPE = Shape(
    messages=("conversations", "conversation"),
    roles=("from", "role"),
    texts=("value", "content", "text"),
)
_ROLES = {"user": "human", "assistant": "gpt"}


def write(conversations: Sequence[Conversation], path: Path) -> None:
    """Write a conversation a line, or a list of them where the name ends in ``.json``."""
    rows = [
        conversation.row("conversations", "from", "value", _ROLES) for conversation in conversations
    ]
    write_json_rows(rows, path)
